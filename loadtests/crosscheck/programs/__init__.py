"""What runs inside the tools: a script of wrk's, and the system under test that MLPerf's LoadGen drives."""
