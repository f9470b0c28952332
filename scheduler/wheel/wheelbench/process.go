package wheelbench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Serve is the measuring process: with the name of a kind it reads a Config
// from in and writes the figures so far to out, a line of JSON after each
// part; without, it writes the names as a JSON array.
func Serve(ctx context.Context, kinds []Kind, args []string, in io.Reader, out io.Writer) error {
	enc := json.NewEncoder(out)
	if len(args) == 0 {
		names := []string{}
		for _, k := range kinds {
			names = append(names, k.Name)
		}
		return enc.Encode(names)
	}
	for _, k := range kinds {
		if len(args) != 1 || k.Name != args[0] {
			continue
		}
		var c Config
		if err := json.NewDecoder(in).Decode(&c); err != nil {
			return fmt.Errorf("configuration on standard input: %w", err)
		}
		var failed error
		err := Measure(ctx, k, c, func(f Figures) { failed = errors.Join(failed, enc.Encode(f)) })
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%q: no such kind", args)
}

// Program is a command line that ends in Serve.
type Program struct {
	Path string
	Args []string
}

// Kinds asks the program what it can measure.
func (p Program) Kinds(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, p.Path, p.Args...).Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", p.Path, err)
	}
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return nil, fmt.Errorf("run %s: its list of kinds: %w", p.Path, err)
	}
	return names, nil
}

// silence is how long a part may take: arming at 20 µs a task twice over, the
// live part, and what else is bounded.
func (c Config) silence() time.Duration {
	return 2*time.Minute + c.For + time.Duration(c.Tasks)*40*time.Microsecond
}

// Run measures one kind in a process of its own. A process that says nothing
// for too long is killed and what it had measured by then is returned, with a
// note; so is one that fails. Only ctx's end is an error.
func (p Program) Run(ctx context.Context, kind string, c Config) (Figures, error) {
	return p.run(ctx, kind, c, c.silence())
}

func (p Program) run(ctx context.Context, kind string, c Config, silence time.Duration) (f Figures, err error) {
	in, err := json.Marshal(c)
	if err != nil {
		return f, err
	}
	child, kill := context.WithCancel(ctx)
	defer kill()
	cmd := exec.CommandContext(child, p.Path, append(p.Args[:len(p.Args):len(p.Args)], kind)...)
	cmd.Stdin = bytes.NewReader(in)
	cmd.WaitDelay = time.Second
	var stderr head
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	if err := cmd.Start(); err != nil {
		return f, fmt.Errorf("run %s: %w", p.Path, err)
	}
	hung := time.AfterFunc(silence, kill)
	parts := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var now Figures
		if json.Unmarshal(lines.Bytes(), &now) != nil {
			continue // antlabs/timer prints to standard output
		}
		f = now
		parts++
		hung.Reset(silence)
	}
	waited := !hung.Stop()
	werr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return f, ctx.Err()
	case waited:
		f.Notes = append(f.Notes, fmt.Sprintf("it hung after %d parts and was killed", parts))
	case werr != nil:
		f.Notes = append(f.Notes, fmt.Sprintf("it failed after %d parts: %v: %s", parts, werr, firstLine(stderr.String())))
	}
	return f, nil
}

// head keeps the beginning of what is written: a program that ends in a panic
// says what it is first, and then tells of each of a million goroutines.
type head struct{ strings.Builder }

func (h *head) Write(b []byte) (int, error) {
	const most = 4096
	if room := most - h.Len(); room > 0 {
		h.Builder.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
