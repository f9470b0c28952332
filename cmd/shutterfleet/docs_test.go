package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// fence is a fenced block: its language, the file that it stands for, its text.
var fence = regexp.MustCompile("(?ms)^```([a-z]+)(?: ([^\n]+))?\n(.*?)^```$")

// TestSchedulingGuide runs the examples of docs/scheduling.md: blocks with a
// file's name are that file, and what follows a prompt is what the command
// prints; -update writes that anew.
func TestSchedulingGuide(t *testing.T) {
	const guide = "../../docs/scheduling.md"
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHUTTERFLEET_SERVER", "http://127.0.0.1:1") // nothing here asks a scheduler
	dir, back := t.TempDir(), must(os.Getwd())
	t.Chdir(dir)
	ran, previewed := 0, map[string]bool{}
	var files []string
	out := fence.ReplaceAllFunc(text, func(block []byte) []byte {
		m := fence.FindSubmatch(block)
		language, name, body := string(m[1]), string(m[2]), string(m[3])
		switch {
		case name != "":
			if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			if language == "yaml" && name != "mistake.yaml" {
				files = append(files, name)
			}
		case language == "yaml":
			t.Errorf("a block of YAML without a file's name is not tested:\n%s", body)
		case language == "console":
			var b strings.Builder
			for _, example := range strings.SplitAfter("\n"+body, "\n$ ")[1:] {
				command, _, _ := strings.Cut(example, "\n")
				args := arguments(command)
				if len(args) < 4 || args[0] != "shutterfleet" || args[2] != "preview" {
					t.Errorf("$ %s: want shutterfleet schedules preview", command)
					continue
				}
				ran++
				previewed[args[3]] = true
				var stdout, stderr bytes.Buffer
				run(t.Context(), args[1:], &stdout, &stderr)
				b.WriteString("$ " + command + "\n" + trimLines(stdout.String()+stderr.String()))
			}
			if got := b.String(); got != body && !*update {
				t.Errorf("an example prints\n%s\nand the guide says\n%s", got, body)
			}
			return []byte("```console\n" + b.String() + "```")
		}
		return block
	})
	if *update {
		t.Chdir(back)
		if err := os.WriteFile(guide, out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if ran < 15 {
		t.Errorf("only %d examples were found", ran)
	}
	// Every file is right, and every key of the language is shown and explained.
	shown := map[string]bool{}
	for _, name := range files {
		name = filepath.Join(dir, name)
		specs, err := parseSchedules(name, must(os.ReadFile(name)), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Error(err)
		}
		for _, s := range specs {
			v := reflect.ValueOf(s)
			for f := range v.NumField() {
				key, _, _ := strings.Cut(v.Type().Field(f).Tag.Get("yaml"), ",")
				shown[key] = shown[key] || !v.Field(f).IsZero()
			}
		}
	}
	for f := range reflect.TypeFor[calendar.Spec]().NumField() {
		key, _, _ := strings.Cut(reflect.TypeFor[calendar.Spec]().Field(f).Tag.Get("yaml"), ",")
		if !shown[key] || !bytes.Contains(text, []byte("`"+key)) {
			t.Errorf("the guide does not show and explain %s", key)
		}
	}
}

// arguments splits a command line at spaces outside double quotes.
func arguments(line string) []string {
	quoted := false
	args := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, `"`, "")
	}
	return args
}

// trimLines takes away what editors take away: spaces at the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
