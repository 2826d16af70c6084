#!/usr/bin/python3
"""A GSS-API acceptor for tests: reads one JSON object a line, answers with one.

In:  {"mech": OID, "token": base64, "binding": base64 or null, "new": true when a sign-in begins}
Out: {"token": base64, "complete": bool, "initiator": str, "flags": int} or {"error": str}
"""
import base64
import json
import sys

import gssapi
import gssapi.raw


def answer(q, state):
    if q["new"]:
        binding = q["binding"]
        if binding is not None:
            binding = gssapi.raw.ChannelBindings(application_data=base64.b64decode(binding))
        mech = gssapi.OID.from_int_seq(q["mech"])
        creds = gssapi.Credentials(usage="accept", mechs=[mech])
        state["ctx"] = gssapi.SecurityContext(creds=creds, usage="accept", channel_bindings=binding)
    ctx = state["ctx"]
    token = ctx.step(base64.b64decode(q["token"]))
    out = {"token": base64.b64encode(token or b"").decode(), "complete": ctx.complete, "initiator": "", "flags": 0}
    if ctx.complete:
        out["initiator"] = str(ctx.initiator_name)
        out["flags"] = int(ctx.actual_flags)
    return out


def main():
    state = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            out = answer(json.loads(line), state)
        except Exception as e:  # an acceptor says no by any exception
            out = {"error": type(e).__name__ + ": " + str(e)}
        print(json.dumps(out), flush=True)


main()
