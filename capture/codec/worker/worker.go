// Package worker decodes what pure Go does not, H.264 and H.265, in an FFmpeg
// child process.
//
//	Annex B ──stdin──► ffmpeg: first picture, Y plane alone ──stdout──► luma
//	                                        └─ small colour picture ──► chroma
//
// A child decodes one frame and ends. It is killed with its deadline, its
// memory is limited, and it sees no files and no network: what comes over a
// camera's stream is hostile until decoded. The luma is the coded plane
// (extractplanes): FFmpeg's own conversion to gray would stretch its range.
package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options configure a Worker.
type Options struct {
	Path     string // of ffmpeg; default: looked up in PATH
	Children int    // at a time; default 2
	Memory   uint64 // bytes of address space a child may have; default 2 GiB
}

// Worker runs FFmpeg children.
type Worker struct {
	path   string
	memory uint64
	places chan struct{} // cap Children
	looked error
}

// New returns a worker. Without FFmpeg it decodes nothing, and says what to do.
func New(o Options) *Worker {
	w := &Worker{memory: cmp.Or(o.Memory, 2<<30), places: make(chan struct{}, cmp.Or(o.Children, 2))}
	w.path, w.looked = exec.LookPath(cmp.Or(o.Path, "ffmpeg"))
	return w
}

// Available reports whether there is an FFmpeg to run.
func (w *Worker) Available() bool { return w.looked == nil }

// maxPicture bounds what is read from a child.
const maxPicture = codec.MaxPixels + 64

var demuxers = map[fleet.Codec]string{fleet.H264: "h264", fleet.H265: "hevc"}

// Decode decodes the first picture of an access unit in Annex B. Its errors are
// *fleet.CameraError.
func (w *Worker) Decode(ctx context.Context, c fleet.Codec, data []byte) (*codec.Image, error) {
	format, ok := demuxers[c]
	if !ok {
		return nil, fleet.Errorf(fleet.CauseUnsupportedCodec, "%s is not decoded", c)
	}
	if !w.Available() {
		return nil, fleet.Errorf(fleet.CauseUnsupportedCodec, "install ffmpeg: this agent needs it on PATH to decode %s (or let the camera offer a JPEG snapshot)", c)
	}
	if len(data) > codec.MaxBytes {
		return nil, fleet.Errorf(fleet.CauseTooLarge, "%s: %d bytes, at most %d are read", c, len(data), codec.MaxBytes)
	}
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	case <-ctx.Done():
		return nil, fleet.Errorf(fleet.CauseDeadline, "%s: no decoder was free before the deadline", c)
	}
	out, colour, err := w.run(ctx, format, data)
	if err != nil {
		return nil, err
	}
	img, err := codec.PGM(out)
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseCorrupt, "%s: no picture could be decoded", c)
	}
	img.Studio = true
	addChroma(img, colour)
	return img, nil
}

// run starts a child. Luma comes on its stdout; a small 4:4:4 picture for
// thumbnails on a pipe beside it.
func (w *Worker) run(ctx context.Context, format string, data []byte) (luma, colour []byte, err error) {
	cmd := exec.CommandContext(ctx, w.path,
		"-v", "error", "-nostdin", "-threads", "1", "-max_alloc", strconv.FormatUint(w.memory/4, 10),
		"-probesize", "32", "-analyzeduration", "0", "-f", format, "-i", "pipe:0",
		"-map", "0:v:0", "-frames:v", "1", "-vf", "extractplanes=y", "-c:v", "pgm", "-f", "image2pipe", "pipe:1",
		"-map", "0:v:0", "-frames:v", "1", "-vf", "scale=320:-2:flags=area,format=yuv444p", "-c:v", "rawvideo", "-f", "rawvideo", "pipe:3")
	cmd.Stdin = bytes.NewReader(data)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	var stderr limited
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %v", err)
	}
	r3, w3, err := os.Pipe()
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %v", err)
	}
	defer r3.Close() //nolint:errcheck // read to its end below
	cmd.ExtraFiles = []*os.File{w3}
	if err := cmd.Start(); err != nil {
		_ = w3.Close() //nolint:errcheck // the start's error says more
		if ctx.Err() != nil {
			return nil, nil, fleet.Errorf(fleet.CauseDeadline, "no time was left to decode the frame")
		}
		return nil, nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %v", err)
	}
	limit(cmd.Process.Pid, w.memory)
	_ = w3.Close() //nolint:errcheck // the child has its own
	second := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r3, 4<<20)) //nolint:errcheck // colour is a nicety
		second <- b
	}()
	luma, rerr := io.ReadAll(io.LimitReader(out, maxPicture))
	werr := cmd.Wait()
	_ = r3.SetReadDeadline(time.Now().Add(time.Second)) //nolint:errcheck // a grandchild cannot hold us up
	colour = <-second
	switch {
	case ctx.Err() != nil:
		return nil, nil, fleet.Errorf(fleet.CauseDeadline, "decoding took longer than the deadline allows")
	case rerr != nil && !errors.Is(rerr, os.ErrClosed):
		return nil, nil, fleet.Errorf(fleet.CauseInternal, "read from ffmpeg: %v", rerr)
	case werr != nil && len(luma) == 0:
		return nil, nil, fleet.Errorf(fleet.CauseCorrupt, "the frame could not be decoded: %s", cmp.Or(stderr.line(), werr.Error()))
	}
	return luma, colour, nil
}

// addChroma takes Cb and Cr of the small picture.
func addChroma(img *codec.Image, raw []byte) {
	const w = 320
	h := len(raw) / (3 * w)
	if h == 0 || len(raw) != 3*w*h {
		return
	}
	n := w * h
	img.Cb = codec.Plane{Pix: raw[n : 2*n], Width: w, Height: h, Stride: w}
	img.Cr = codec.Plane{Pix: raw[2*n:], Width: w, Height: h, Stride: w}
}

// limited keeps the first kilobyte.
type limited struct{ b []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), 1024-len(l.b))]...)
	return len(p), nil
}

// line returns its first line without FFmpeg's addresses.
func (l *limited) line() string {
	s, _, _ := strings.Cut(string(l.b), "\n")
	if _, rest, ok := strings.Cut(s, "] "); ok && strings.HasPrefix(s, "[") {
		s = rest
	}
	return strings.TrimSpace(s)
}

// String tells what it runs.
func (w *Worker) String() string { return fmt.Sprintf("ffmpeg worker (%s)", cmp.Or(w.path, "none")) }
