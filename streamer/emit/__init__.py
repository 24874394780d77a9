"""Where results go out: MQTT, LSL outlets, the recorder, and the gate before all triggers.

May import formats, runlog, wire and everything below; no other station.
"""
