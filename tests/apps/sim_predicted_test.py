#!/usr/bin/env python3
"""qpip-sim paper --predicted: the firmware's image on the simulated NIC's core.

    sim_predicted_test.py BIN_DIR IMAGE SOURCE_DIR
"""

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BIN, IMAGE, SOURCE = (Path(argument) for argument in sys.argv[1:4])
PAGE = SOURCE / "docs/predicting-the-firmware.md"


def sim(*arguments, status=0):
    done = subprocess.run([BIN / "qpip-sim", *arguments], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done


def predict(*arguments):
    return sim("paper", "--predicted", "--firmware-image", str(IMAGE), *arguments)


class Predicted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = predict().stdout
        cls.prediction = json.loads(predict("--json").stdout)

    def test_given_the_image_when_run_then_every_cell_of_the_tables_has_a_prediction(self):
        rows = self.prediction["stages"]
        published = [row for row in rows if row["published_us"] is not None]
        self.assertEqual(len(published), 14 + 12)
        for row in published:
            self.assertGreater(row["instructions"], 0, row)
            # A cycle an instruction at least, at 133 MHz, and not four.
            cycles = row["predicted_us"] * 133
            self.assertGreater(cycles, row["instructions"] * 0.999, row)
            self.assertLess(cycles, row["instructions"] * 4, row)

    def test_given_the_prediction_when_summed_up_then_worst_and_median_are_those_of_the_rows(self):
        sizes = sorted(abs(row["deviation"]) for row in self.prediction["stages"]
                       if row["deviation"] is not None)
        self.assertAlmostEqual(abs(self.prediction["worst"]["deviation"]), sizes[-1])
        middle = (sizes[len(sizes) // 2 - 1] + sizes[len(sizes) // 2]) / 2
        self.assertAlmostEqual(self.prediction["median_deviation"], middle)
        self.assertIn(self.prediction["worst"]["what"], self.text)

    def test_given_an_instruction_that_takes_two_cycles_when_predicted_then_stages_take_longer(self):
        slow = json.loads(predict("--json", "--set", "image.cycles=2").stdout)
        for fast, other in zip(self.prediction["stages"], slow["stages"]):
            self.assertEqual(fast["instructions"], other["instructions"], fast)
            extra = fast["instructions"] / 133
            # What a timer's heap or a batch finds depends a little on the time.
            self.assertAlmostEqual(other["predicted_us"] - fast["predicted_us"], extra,
                                   delta=0.05 + 0.02 * extra)

    def test_given_the_same_command_twice_when_run_then_the_result_is_the_same(self):
        self.assertEqual(predict().stdout, self.text)

    def test_given_a_directory_when_predicted_then_it_has_the_rows(self):
        with tempfile.TemporaryDirectory() as directory:
            predict("--out", directory)
            lines = (Path(directory) / "predicted.csv").read_text().splitlines()
            self.assertEqual(len(lines), 1 + len(self.prediction["stages"]))
            whole = json.loads((Path(directory) / "predicted.json").read_text())
            self.assertEqual(whole["stages"], self.prediction["stages"])

    def test_given_the_page_when_compared_then_what_it_quotes_is_what_is_predicted(self):
        quoted = re.findall(r"^\| (Table \d) \| ([^|]+?) \| (data|ack) \| [^|]+ \| ([\d,]+) \|",
                            PAGE.read_text(), re.M)
        rows = {(row["table"], row["stage"], row["column"]): row["instructions"]
                for row in self.prediction["stages"] if row["published_us"] is not None}
        self.assertEqual(len(quoted), len(rows))
        for table, stage, column, number in quoted:
            predicted = rows[table, stage, column]
            # Firmware may change a little without a new page; a tenth says that it is out of date.
            self.assertLess(abs(int(number.replace(",", "")) - predicted), 5 + 0.1 * predicted,
                            (table, stage, column, number, predicted))

    def test_given_no_image_when_predicted_then_the_error_says_what_makes_one(self):
        done = sim("paper", "--predicted", "--firmware-image", "/nonexistent/image.elf", status=1)
        self.assertIn("tools/build-rv32i", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_given_a_file_that_is_no_image_when_predicted_then_it_is_refused(self):
        done = sim("paper", "--predicted", "--firmware-image", str(BIN / "qpip-sim"), status=1)
        self.assertIn("is no 32-bit RISC-V ELF file", done.stderr)

    def test_given_an_image_that_is_cut_short_when_predicted_then_it_is_refused(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(IMAGE.read_bytes()[:20000])
            file.flush()
            done = sim("paper", "--predicted", "--firmware-image", file.name, status=1)
            self.assertIn("cut short", done.stderr)

    def test_given_options_of_the_fitted_study_when_predicted_then_they_are_refused(self):
        self.assertIn("--report", sim("paper", "--predicted", "--report", "/tmp", status=2).stderr)
        self.assertIn("--predicted", sim("paper", "--firmware-image", str(IMAGE), status=2).stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
