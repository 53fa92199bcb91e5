"""For tests of workflows: `swap` puts another function in an activity's place in a real worker, and `explore`
simulates what can happen to a workflow, without a server. See docs/simulator.md."""
