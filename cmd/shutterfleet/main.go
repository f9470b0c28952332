// Command shutterfleet is the centre of a camera fleet and its operator's tool:
//
//	shutterfleet dev          everything in one process, with virtual cameras
//	shutterfleet scheduler    the centre itself
//	shutterfleet cameras ls   and the other verbs, which speak to a scheduler
//
// It exits with 0 when done, 1 when something failed, 2 on wrong usage.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand() //nolint:contextcheck // cobra hands ctx to each verb
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	if e, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		code = e.ExitCode()
	}
	if text := err.Error(); text != "" {
		root.PrintErrln("shutterfleet: " + strings.TrimPrefix(text, "shutterfleet: "))
	}
	return code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "shutterfleet",
		Short:         "Photograph a fleet of cameras on time, and account for every picture",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE:          needVerb,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%w", err) })
	root.AddCommand(devCommand(), schedulerCommand(), benchCommand(), fingerprintCommand(), versionCommand())
	root.AddCommand(verbs()...)
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print this program's version", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}

// usageError is a mistake on the command line: exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return 2 }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// needVerb answers a noun without a verb, and verbs that do not exist.
func needVerb(cmd *cobra.Command, args []string) error {
	// Cobra's own default, which it sets only where it prints the hint itself.
	cmd.SuggestionsMinimumDistance = 2
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			names = append(names, c.Name())
		}
	}
	all := strings.Join(names, ", ")
	if len(args) == 0 {
		return usage("%s: what? There are: %s", cmd.Name(), all)
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(" Did you mean %s?", strings.Join(near, " or "))
	}
	return usage("%s: there is no %q.%s There are: %s", cmd.Name(), args[0], hint, all)
}

// noArgs, wantArgs and someArgs are cobra's, with exit code 2.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument, got %q: see `%s --help`", cmd.Name(), args[0], cmd.CommandPath())
	}
	return nil
}

func wantArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usage("%s wants %s: see `%s --help`", cmd.Name(), strings.Join(names, " "), cmd.CommandPath())
		}
		return nil
	}
}
