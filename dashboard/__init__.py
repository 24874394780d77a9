"""The operator's live window and, in ``feedback/``, the participant's screen; both are fed by MQTT alone.

May import streamer.messages, streamer.wire and streamer.errors, nothing else of ours.
"""
