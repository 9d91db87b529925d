"""Random histories of task instances that submit, and the promises that none of them may break.

``world.py`` holds what takes part in a history, ``promises.py`` what must hold of it, ``machine.py`` how histories are
drawn. What a history did to the service is read from the emulator's own records: every request carries its number in
``platformSettings``, so each submission in the ledger is known to be of one request, try and task instance.
"""
