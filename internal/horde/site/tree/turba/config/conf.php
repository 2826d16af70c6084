<?php
$conf['gal']['addressbook'] = 'gal';
$conf['client']['addressbook'] = 'gal';
$conf['shares']['source'] = '';
$conf['comments']['allow'] = false;
$conf['documents']['type'] = 'none';
$conf['tags']['enabled'] = false;
$conf['menu']['import_export'] = false;
