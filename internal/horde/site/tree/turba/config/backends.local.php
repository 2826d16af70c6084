<?php
$cfgSources = array();
$cfgSources['gal'] = array(
  'title' => 'Directory', 'type' => 'ldap',
  'params' => array('server' => '127.0.0.1', 'port' => LDAPPORT, 'tls' => false, 'root' => 'dc=corp,dc=example',
    'bind_dn' => 'cn=admin,dc=corp,dc=example', 'bind_password' => 'directory', 'sizelimit' => 0, 'dn' => array('cn'),
    'objectclass' => array('inetOrgPerson'), 'scope' => 'sub', 'charset' => 'utf-8', 'checkrequired' => false, 'checkrequired_string' => ' ', 'checksyntax' => false, 'version' => 3),
  'map' => array('__key' => 'dn', '__uid' => 'uid', 'name' => 'cn', 'firstname' => 'givenname', 'lastname' => 'sn', 'email' => 'mail', 'alias' => 'uid', 'smimePublicKey' => 'certificatepem'),
  'search' => array('name', 'email', 'alias'), 'strict' => array('dn', 'uid', 'email'), 'approximate' => array(), 'export' => false, 'browse' => true,
);
