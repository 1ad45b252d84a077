"""Result files: what a load test measured, with everything that one needs to judge and to repeat it."""
