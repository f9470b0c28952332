package main

import "github.com/spf13/cobra"

// benchCommand holds the benches; each lives in a file of its own.
func benchCommand() *cobra.Command {
	return noun("bench", "Measure this machine against the promises",
		benchWheelCommand(),
	)
}
