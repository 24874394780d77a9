"""The participant's view: a level to regulate, fed by MQTT alone, neutral whenever nothing that counts is known.

May import streamer.messages, streamer.wire, streamer.errors and dashboard, nothing else of ours.
"""
