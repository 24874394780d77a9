"""The operator's live window, fed by MQTT alone.

May import streamer.messages, streamer.wire and streamer.errors, nothing else of ours.
"""
