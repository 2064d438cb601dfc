import os
import subprocess
import sys

from quant_core.evidence.files.writer import Writer, is_alive, process_start, this_process


def test_this_process_is_alive_and_the_same_each_time():
    assert this_process() == this_process()
    assert this_process().pid == os.getpid()
    assert is_alive(this_process())


def test_a_process_with_the_pid_but_another_start_or_boot_is_somebody_else():
    me = this_process()
    assert not is_alive(me.model_copy(update={"started": me.started + 1}))
    assert not is_alive(me.model_copy(update={"boot_id": "another"}))
    assert (
        len(
            {
                me.token,
                *(
                    me.model_copy(update={name: value}).token
                    for name, value in (("pid", 1), ("started", 1), ("boot_id", "another"))
                ),
            }
        )
        == 4
    )


def test_an_ended_child_is_dead_even_before_it_is_waited_for():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    started = process_start(child.pid)
    assert started is not None
    writer = Writer(pid=child.pid, boot_id=this_process().boot_id, started=started)
    assert is_alive(writer)
    child.stdin.write(b"\n")
    child.stdin.close()
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(writer)
    child.wait()
    child.stdout.close()
    assert not is_alive(writer)
