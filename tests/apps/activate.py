#!/usr/bin/env python3
"""Runs a command as systemd's socket units do (sd_listen_fds(3)): a Unix socket that is listened on already is its
descriptor 3, and LISTEN_FDS and LISTEN_PID say so.  Usage: activate.py SOCKET COMMAND..."""
import os
import socket
import sys

path, *command = sys.argv[1:]
listening = socket.socket(socket.AF_UNIX)
listening.bind(path + ".new")  # whoever finds the socket can connect to it
listening.listen()
os.rename(path + ".new", path)
os.dup2(listening.fileno(), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
