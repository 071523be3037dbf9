"""What a step finds around it: hosts that train together, folders and buckets, secrets, servers, the code's version.

Also notifications, and how long a process waits for any server over HTTP. May import `config` and `elboflow`, and no
other room of `components`.
"""
