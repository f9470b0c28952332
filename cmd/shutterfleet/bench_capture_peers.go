package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// sample is what decoding one picture once took.
type sample struct {
	wall, cpu time.Duration
	bytes     uint64 // allocated by Go; 0 by others
	objects   uint64
	luma      uint64 // FNV-1a of the plane; 0 when it was not kept
}

// peerProcess speaks to the program of bench/shutterfleet-bench-capture-peers,
// a line at a time; the protocol stands at the head of its source.
type peerProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	names []string
}

// startPeers starts the program in the folder of the files that it will be given.
func startPeers(ctx context.Context, path, dir string) (*peerProcess, error) {
	p := &peerProcess{cmd: exec.CommandContext(ctx, path)}
	p.cmd.Dir = dir
	p.cmd.WaitDelay = time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for line, err := p.ask("peers"); line != ""; line, err = p.line() {
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.names = append(p.names, line)
	}
	return p, nil
}

// Close ends the program, which ends with its input.
func (p *peerProcess) Close() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

func (p *peerProcess) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the peers' program says nothing: %w", err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

func (p *peerProcess) ask(request string) (string, error) {
	if _, err := io.WriteString(p.in, request+"\n"); err != nil {
		return "", fmt.Errorf("the peers' program does not listen: %w", err)
	}
	return p.line()
}

// decode has one peer decode a file once.
func (p *peerProcess) decode(name string, scale int, c fleet.Codec, file string) (s sample, err error) {
	answer, err := p.ask(fmt.Sprintf("decode %s %d %s %s", name, scale, c, filepath.Base(file)))
	if err != nil {
		return s, err
	}
	if text, failed := strings.CutPrefix(answer, "error "); failed {
		return s, errors.New(text)
	}
	var width, height int
	if _, err := fmt.Sscanf(answer, "ok %d %d %d %d %x", &s.wall, &s.cpu, &width, &height, &s.luma); err != nil {
		return s, fmt.Errorf("the peers' program answers %q: %w", answer, err)
	}
	return s, nil
}

// progressive codes a JPEG anew.
func (p *peerProcess) progressive(quality int, in, out string) error {
	answer, err := p.ask(fmt.Sprintf("progressive %d %s %s", quality, filepath.Base(in), filepath.Base(out)))
	if text, failed := strings.CutPrefix(answer, "error "); err == nil && failed {
		return errors.New(text)
	}
	return err
}

// cpuTime is what the caller's thread, to which it must be locked, and the children that have ended have used.
func cpuTime() time.Duration {
	sum := ownCPU()
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) == nil {
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// ffmpegProcess decodes a file as scripts do: a new process for a picture.
func ffmpegProcess(ctx context.Context, file string) (s sample, err error) {
	began := time.Now()
	//nolint:gosec // the file is one that the bench made
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", file, "-frames:v", "1", "-f", "rawvideo", "-")
	if _, err := cmd.Output(); err != nil {
		return s, err
	}
	s.wall, s.cpu = time.Since(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	return s, nil
}

// lumaHash is the peers' hash of a plane.
func lumaHash(p codec.Plane) uint64 {
	h := fnv.New64a()
	for y := range p.Height {
		_, _ = h.Write(p.Row(y)) // never fails
	}
	return h.Sum64()
}
