// Package child runs this project's programs as processes of their own, for
// benches, and reads what they cost from /proc (proc(5)). A child ends with
// this process, whatever ends that.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a running child. Stop ends it.
type Process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}
	err  error // after done
}

// Start runs name with its output handed to stdout and stderr. Its standard
// input is a pipe that ends with CloseInput.
func Start(stdout, stderr io.Writer, name string, args ...string) (*Process, error) {
	//nolint:noctx // it ends by Stop, which lets it end in order
	p := &Process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = stdout, stderr, attributes()
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(name), err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended; nil while it runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Say writes to the process's standard input.
func (p *Process) Say(text string) error {
	_, err := io.WriteString(p.in, text)
	return err
}

// CloseInput ends the process's standard input.
func (p *Process) CloseInput() error { return p.in.Close() }

// Wait waits for the process to end by itself.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop asks the process to end (SIGTERM), and kills it when it has not ended
// after the grace. It returns how it ended; nil when that was in order.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return p.err
	case <-t.C:
		err := p.cmd.Process.Kill()
		<-p.done
		return errors.Join(fmt.Errorf("process %d did not end within %v", p.cmd.Process.Pid, grace), err)
	}
}

// Usage is what a process has cost so far.
type Usage struct {
	CPU  time.Duration // user and system, of all its threads
	RSS  uint64        // bytes, now
	Peak uint64        // bytes, the highest RSS so far
}

// Usage reads it; Linux only.
func (p *Process) Usage() (Usage, error) { return usage(p.cmd.Process.Pid) }

func usage(pid int) (Usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Usage{}, fmt.Errorf("what process %d costs cannot be read: %w", pid, err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Usage{}, fmt.Errorf("what process %d costs cannot be read: %w", pid, err)
	}
	return parse(string(stat), string(status))
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

func parse(stat, status string) (Usage, error) {
	var u Usage
	// The second field may hold spaces and ends with the last parenthesis.
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return u, errors.New("/proc/PID/stat is cut short")
	}
	for _, text := range f[11:13] { // utime, stime: fields 14 and 15
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return u, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		u.CPU += time.Duration(n) * tick
	}
	for line := range strings.Lines(status) {
		for key, into := range map[string]*uint64{"VmRSS:": &u.RSS, "VmHWM:": &u.Peak} {
			rest, ok := strings.CutPrefix(line, key)
			if !ok {
				continue
			}
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 54)
			if err != nil {
				return u, fmt.Errorf("/proc/PID/status: %w", err)
			}
			*into = n << 10
		}
	}
	return u, nil
}
