"""The command `chat`: a conversation with the agents on a terminal."""
