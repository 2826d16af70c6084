<?php
$_SERVER['SCRIPT_NAME'] = '/rpc.php'; $_SERVER['PHP_SELF'] = '/rpc.php'; $_SERVER['SCRIPT_FILENAME'] = 'FOLDER/tree/rpc.php';
chdir('FOLDER/tree');
require 'FOLDER/tree/rpc.php';
