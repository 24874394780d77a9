"""The operator's live window, fed by MQTT alone.

May import streamer.messages and streamer.wire, nothing else of ours.
"""
