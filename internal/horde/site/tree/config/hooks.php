<?php
class Horde_Hooks
{
    public function activesync_provisioning_check($device, $user)
    {
        return PROVISION;
    }
}
