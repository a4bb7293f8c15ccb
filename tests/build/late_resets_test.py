#!/usr/bin/env python3
"""tests/interop/late_resets.py takes no reset for late that could have ended anything.

Usage: late_resets_test.py SOURCE_DIR
"""

import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(sys.argv.pop(1)).resolve() / "tests/interop"))
from late_resets import late_resets  # noqa: E402

A, B = ("fd00::1", "1"), ("fd00::2", "2")
SYN, FIN, RST, ACK = 2, 1, 4, 16
# A sends 9 bytes and FIN, B sends FIN: (frame, from, to, flags, sequence, acknowledgement, length)
OPEN = [(1, A, B, SYN, 0, 0, 0), (2, B, A, SYN | ACK, 50, 1, 0), (3, A, B, ACK, 1, 51, 0)]
CLOSING = [*OPEN, (4, A, B, FIN | ACK, 1, 51, 9), (5, B, A, FIN | ACK, 51, 11, 0)]
OVER = [*CLOSING, (6, A, B, ACK, 11, 52, 0)]


def late(packets, flags, sequence):
    return list(late_resets([*packets, (7, A, B, flags, sequence, 0, 0)]))


class LateResets(unittest.TestCase):
    def test_given_both_ends_closed_when_a_segment_is_answered_then_late(self):
        self.assertEqual(late(OVER, RST, 11), [7])

    def test_given_a_connection_that_lives_when_reset_then_not_late(self):
        self.assertEqual(late(OPEN, RST, 1), [])

    def test_given_a_fin_not_acknowledged_when_reset_then_not_late(self):
        self.assertEqual(late(CLOSING, RST, 11), [])
        self.assertEqual(late(OVER[:4], RST, 11), [])

    def test_given_both_ends_closed_when_the_reset_answers_nothing_then_not_late(self):
        self.assertEqual(late(OVER, RST, 12), [])
        self.assertEqual(late(OVER, RST | ACK, 11), [])

    def test_given_a_connection_from_before_when_its_fin_is_repeated_then_late(self):
        fin, text = [(1, B, A, FIN | ACK, 51, 11, 0)], [(1, B, A, ACK, 51, 11, 9)]
        self.assertEqual(late(fin, RST, 11), [7])
        self.assertEqual(late(fin, RST, 12), [])
        self.assertEqual(late(text, RST, 11), [])
        self.assertEqual(late([*OPEN, (4, B, A, FIN | ACK, 51, 11, 0)], RST, 11), [])

    def test_given_the_ports_used_again_when_reset_then_not_late(self):
        again = [(7, A, B, SYN, 200, 0, 0), (8, B, A, SYN | ACK, 300, 201, 0)]
        self.assertEqual(late([*OVER, *again], RST, 11), [])


if __name__ == "__main__":
    unittest.main()
