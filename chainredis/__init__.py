"""Chain Replicated Redis: what of it is ordinary Python.

`coordinator` is the master's mind, run inside the server by libmaster.so; `launcher` and `cli` start chains of real
servers, for users and tests alike; `core` (compiled) is the members' protocol, for the simulator.
"""
