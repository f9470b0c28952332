package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxSecretBytes bounds a password file.
const maxSecretBytes = 4096

// verbs returns the operator's nouns with their verbs.
func verbs() []*cobra.Command {
	return []*cobra.Command{
		camerasCommand(), sitesCommand(), schedulesCommand(), captureCommand(), jobsCommand(), capturesCommand(), agentsCommand(),
		keysCommand(), credsCommand(), rulesCommand(), matchCommand(), booksCommand(),
	}
}

// door holds the flags that all verbs of one noun share.
type door struct{ server, tokenFile, output string }

// join adds the shared flags to a noun.
func (d *door) join(noun *cobra.Command) *cobra.Command {
	f := noun.PersistentFlags()
	f.StringVar(&d.server, "server", "", "the scheduler's URL (SHUTTERFLEET_SERVER; default "+client.DefaultServer+")")
	f.StringVar(&d.tokenFile, "token-file", "", "file with the token (SHUTTERFLEET_TOKEN_FILE)")
	f.StringVarP(&d.output, "output", "o", "table", "table, json or yaml")
	return noun
}

// noun returns a command that only holds verbs.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs, RunE: needVerb}
	c.AddCommand(verbs...)
	return c
}

// client checks the shared flags and returns the way to the scheduler.
func (d *door) client() (*client.Client, error) {
	if err := d.checkOutput(); err != nil {
		return nil, err
	}
	return client.New(client.Options{
		Server:    cmp.Or(d.server, os.Getenv("SHUTTERFLEET_SERVER")),
		TokenFile: cmp.Or(d.tokenFile, os.Getenv("SHUTTERFLEET_TOKEN_FILE")),
	})
}

func (d *door) checkOutput() error {
	if !slices.Contains([]string{"table", "json", "yaml"}, d.output) {
		return usage("-o %s: want table, json or yaml", d.output)
	}
	return nil
}

// print writes v as JSON or YAML, or else what table writes.
func (d *door) print(cmd *cobra.Command, v any, table func(w *bytes.Buffer)) error {
	out := cmd.OutOrStdout()
	if d.output == "table" {
		var b bytes.Buffer
		table(&b)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
		return w.Flush()
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if d.output == "yaml" {
		// By way of JSON, so that both have the same keys and texts.
		if b, err = yaml.JSONToYAML(b); err != nil {
			return err
		}
	}
	_, err = out.Write(append(bytes.TrimRight(b, "\n"), '\n'))
	return err
}

// rows writes a table with a header; without a row, what to do about it goes to
// stderr and stdout stays empty.
func rows[T any](cmd *cobra.Command, items []T, none, header string, row func(T) []any) func(*bytes.Buffer) {
	return func(w *bytes.Buffer) {
		if len(items) == 0 {
			cmd.PrintErrln(none)
			return
		}
		fmt.Fprintln(w, strings.ReplaceAll(header, " ", "\t"))
		for _, it := range items {
			cells := row(it)
			for i, c := range cells {
				if i > 0 {
					fmt.Fprint(w, "\t")
				}
				fmt.Fprint(w, plain(c))
			}
			fmt.Fprintln(w)
		}
	}
}

// plain returns a cell's text: one line, without what moves a terminal's
// cursor, for names and details come from the network; - for nothing.
func plain(c any) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, fmt.Sprint(c))
	return cmp.Or(s, "-")
}

// when writes an optional moment for a table.
func when(i *fleet.Instant) string {
	if i == nil {
		return ""
	}
	return i.Time().Format("2006-01-02 15:04:05Z")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// readSecret reads a password from a file, or from stdin for "-"; the newline
// that editors put at a file's end is not part of it.
func readSecret(cmd *cobra.Command, file string) (fleet.Secret, error) {
	r := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("password file: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSecretBytes+1))
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	if len(b) > maxSecretBytes {
		return "", fmt.Errorf("password file %s: longer than %d bytes", file, maxSecretBytes)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	return fleet.Secret(s), nil
}

// labels reads k=v arguments; with remove, k= stands for null.
func labels(args []string, remove bool) (map[string]*string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	out := map[string]*string{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" {
			return nil, usage("--label %s: want key=value, for example floor=2", a)
		}
		out[k] = &v
		if v == "" && remove {
			out[k] = nil
		}
	}
	return out, nil
}

// instant reads a time flag: RFC 3339, or an age such as 2h.
func instant(flag, s string, now time.Time) (string, error) {
	if s == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return fleet.At(now.Add(-d)).String(), nil
	}
	var i fleet.Instant
	if err := i.UnmarshalText([]byte(s)); err != nil {
		return "", usage("--%s %s: want a time such as 2027-03-01T06:00:00Z, or an age such as 2h", flag, s)
	}
	return i.String(), nil
}
