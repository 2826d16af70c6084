<?php
foreach ($this->applications as $app => $x) { if (!in_array($app, array('horde', 'turba', 'content'))) { $this->applications[$app]['status'] = 'inactive'; } }
