package main

import "github.com/spf13/cobra"

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure what this machine can do", Args: cobra.ArbitraryArgs, RunE: needVerb,
	}
	cmd.AddCommand(benchFleetCommand(), benchTransportCommand(), benchSwarmCommand())
	return cmd
}
