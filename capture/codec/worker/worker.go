// Package worker decodes what this program does not decode itself, H.265 and
// rare kinds of H.264 above all, in a child process: FFmpeg, where the machine
// has it.
//
//	Annex B ──stdin──► ffmpeg (own memory limit, one thread) ──┬─ stdout ──► luma plane
//	                                                           └─ fd 3 ────► JPEG thumbnail
//
// The child lives for one frame, is killed when the context ends, may not take
// more memory than it was given, reads its standard input and nothing else. A
// machine without FFmpeg is no fault: frames then end in unsupported-codec,
// with the advice to install it.
//
// Whether a picture came whole is not told here: FFmpeg fills in what it lacks. Of
// H.265, package h265 tells it from the syntax. What FFmpeg 5.1 itself says is not
// enough. Of 200 key pictures by x265, of all kinds, it found, in its log or its exit code:
//
//	                                        cut, of 200   bits flipped, of 200   slice lost, of 51   whole, of 200
//	-v error, and -v warning                     0                1                    18                 0
//	-err_detect crccheck+bitstream+buffer
//	  +explode -xerror                          98               48                    19                 0
//	  those of them with a picture hash      43 of 68         30 of 68               5 of 14              0
//
// The picture hash is an SEI message that cameras do not send.
//
// A child is not kept for the next frame, though starting it is most of what a
// frame costs: 80 ms and more, of which 4 are decoding, at 640x360. What was tried is
// FFmpeg 5.1 that reads key frames one behind the other, each with an end of
// sequence and a delimiter behind it:
//   - It holds pictures back, 1 to 3 as its options and the stream's reordering
//     have it, so that each frame has to be sent twice, and the first picture of a
//     child waits for more.
//   - It keeps the size that it began with: of 200 key frames of five sizes, in
//     turn, 36 came out as one process each gives them, and the others scaled to
//     the first one's; 100 of 100 of one size did. That is a child of 53 MB for each
//     size and kind of camera.
//   - Its output does not say which picture belongs to which frame: they are
//     counted. A frame that brings two pictures, or none, gives the next camera
//     another one's picture, and a camera that wants to can send such frames.
//
// The last alone would forbid it: a wrong picture under a camera's name is worse
// than a slow one. Formats that matter have decoders of our own.
package worker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options configure a Worker.
type Options struct {
	Program string        // FFmpeg's name or path; default "ffmpeg", looked up on PATH
	Width   int           // children at a time; default the number of processors
	Timeout time.Duration // for one frame, if its context has no earlier end; default 10s
	Memory  uint64        // address space of a child in bytes, where the system can limit it; default 1 GiB
	Limits  codec.Limits
}

// A Worker decodes frames, several at a time.
type Worker struct {
	opts    Options
	path    string
	missing error
	slots   chan struct{} // holds a token for each running child
}

// New looks for FFmpeg. That it is absent shows in Codecs and in what Decode
// says, not here.
func New(o Options) (*Worker, error) {
	o.Program = cmp.Or(o.Program, "ffmpeg")
	o.Width = cmp.Or(o.Width, runtime.GOMAXPROCS(0))
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Memory = cmp.Or(o.Memory, 1<<30)
	o.Limits = o.Limits.WithDefaults()
	if o.Width < 0 || o.Timeout < 0 {
		return nil, fmt.Errorf("codec worker: width %d, timeout %s", o.Width, o.Timeout)
	}
	w := &Worker{opts: o, slots: make(chan struct{}, o.Width)}
	w.path, w.missing = exec.LookPath(o.Program)
	return w, nil
}

// demuxers are FFmpeg's names for the frames that it is fed.
var demuxers = map[fleet.Codec]string{fleet.H264: "h264", fleet.H265: "hevc", fleet.JPEG: "mjpeg", codec.MP4: "mov"}

// Codecs returns what can be decoded on this machine: nothing without FFmpeg.
func (w *Worker) Codecs() []fleet.Codec {
	if w.missing != nil {
		return nil
	}
	return []fleet.Codec{fleet.H264, fleet.H265}
}

// errTimeout is the cause of a context that Worker's own timeout ended.
var errTimeout = errors.New("the decoder took too long")

// Decode decodes one frame into plane, whose memory it uses again. With a
// thumbnail width above 0 it also returns a JPEG of at most that width, and twice
// as high. Errors are *fleet.CameraError: unsupported-codec without FFmpeg or for
// a codec that it is not used for, timeout when ctx or the worker's own timeout
// ended it, corrupt or too-large for what the frame was.
func (w *Worker) Decode(ctx context.Context, c fleet.Codec, data []byte, thumbnail int, plane *codec.Plane) (jpeg []byte, err error) {
	demuxer, ok := demuxers[c]
	if !ok {
		return nil, codec.Unsupported("no decoder for %q frames", c)
	}
	if c == fleet.JPEG && jpegComponents(data) == 4 {
		return nil, codec.Unsupported("a JPEG of 4 components (CMYK) is not read: convert it to RGB or gray first")
	}
	if w.missing != nil {
		return nil, codec.Unsupported("install ffmpeg on the agent's machine to read %s frames, or let the camera offer a JPEG snapshot", c)
	}
	if err := w.opts.Limits.CheckBytes(len(data)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.opts.Timeout, errTimeout)
	defer cancel()
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return nil, fleet.Errorf(fleet.CauseTimeout, "wait for a decoder of %s: %w", c, context.Cause(ctx))
	}
	jpeg, err = w.run(ctx, demuxer, data, thumbnail, plane)
	if err == nil {
		return jpeg, nil
	}
	if ctx.Err() != nil {
		return nil, fleet.Errorf(fleet.CauseTimeout, "decode %s: %w", c, context.Cause(ctx))
	}
	if _, ok := errors.AsType[*fleet.CameraError](err); ok {
		return nil, err
	}
	return nil, codec.Corrupt("decode %s: %w", c, err)
}

// jpegComponents returns how many components a JPEG's frame header says it has; 0
// if there is none. Of four, FFmpeg has a plane of luma that is not what the
// picture shows: 5.1 makes it 0 where all that it shows is in the black.
func jpegComponents(data []byte) int {
	for i := 2; i+10 <= len(data) && data[i] == 0xFF; {
		m := data[i+1]
		switch {
		case m == 0xFF: // fill
			i++
			continue
		case m >= 0xC0 && m <= 0xCF && m != 0xC4 && m != 0xC8 && m != 0xCC: // SOFn, ITU-T T.81, Table B.1
			return int(data[i+9])
		case m == 0xDA:
			return 0
		}
		i += 2 + int(data[i+2])<<8 + int(data[i+3])
	}
	return 0
}

// maxThumbnail bounds what the child may send as a thumbnail.
const maxThumbnail = 1 << 20

func (w *Worker) run(ctx context.Context, demuxer string, data []byte, thumbnail int, plane *codec.Plane) (jpeg []byte, err error) {
	cmd := exec.CommandContext(ctx, w.path, arguments(demuxer, thumbnail, w.opts.Limits)...)
	cmd.Env = []string{"LC_ALL=C"} // nothing else of ours is its business
	cmd.WaitDelay = time.Second
	complaints := &tail{}
	cmd.Stderr = complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %w", err)
	}
	var picture *os.File
	if thumbnail > 0 {
		var far *os.File
		if picture, far, err = os.Pipe(); err != nil {
			return nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %w", err)
		}
		defer picture.Close()
		defer far.Close()
		cmd.ExtraFiles = []*os.File{far}
	}
	if err := cmd.Start(); err != nil {
		return nil, fleet.Errorf(fleet.CauseInternal, "start ffmpeg: %w", err)
	}
	for _, f := range cmd.ExtraFiles {
		f.Close() // ours; the child has its own, whose end must be the last
	}
	// The child has seen nothing of the frame yet: the limit comes in time.
	if err := limit(cmd.Process.Pid, w.opts.Memory); err != nil {
		killed := cmd.Process.Kill()
		return nil, fleet.Errorf(fleet.CauseInternal, "limit ffmpeg's memory: %w", errors.Join(err, killed, cmd.Wait()))
	}
	var g errgroup.Group
	g.Go(func() error {
		defer stdin.Close()
		// It may stop reading once it has its picture: that is no failure.
		_, _ = stdin.Write(data)
		return nil
	})
	g.Go(func() error {
		err := readY4M(bufio.NewReaderSize(stdout, 64<<10), w.opts.Limits, plane)
		// Whatever follows is drained, so that the child is not held up.
		_, _ = io.Copy(io.Discard, stdout)
		return err
	})
	if picture != nil {
		g.Go(func() error {
			b, err := io.ReadAll(io.LimitReader(picture, maxThumbnail+1))
			_, _ = io.Copy(io.Discard, picture)
			if len(b) <= maxThumbnail {
				jpeg = b
			}
			return err
		})
	}
	stop := context.AfterFunc(ctx, func() {
		// A killed child's pipes end by themselves; ours is closed in case
		// that something else holds the other end.
		if picture != nil {
			picture.Close()
		}
	})
	defer stop()
	readErr := g.Wait()
	waitErr := cmd.Wait()
	if readErr != nil {
		if _, ok := errors.AsType[*fleet.CameraError](readErr); ok {
			return nil, readErr
		}
		if said := complaints.String(); said != "" {
			return nil, errors.New(said)
		}
		return nil, readErr
	}
	if waitErr != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", waitErr, complaints.String())
	}
	return jpeg, nil
}

// arguments is FFmpeg's command line. The luma plane is taken out before any
// conversion: asking for gray pictures would expand the range of its samples.
func arguments(demuxer string, thumbnail int, l codec.Limits) []string {
	luma := "extractplanes=y,format=gray"
	args := []string{
		"-nostdin", "-hide_banner", "-v", "error", "-threads", "1",
		"-max_pixels", strconv.Itoa(l.Pixels),
		"-noautorotate",       // else MP4 and Exif say how the picture is turned: it is taken as it is coded, as the other decoders do
		"-flags", "unaligned", // else what a stream crops at its left is shown, up to 63 samples, for the sake of alignment
	}
	if demuxer == demuxers[codec.MP4] {
		// Its index may stand at the file's end, so the pipe is kept in a
		// temporary file of the child's that it can go back and forth in.
		args = append(args, "-protocol_whitelist", "pipe,cache", "-f", demuxer, "-read_ahead_limit", "-1", "-i", "cache:pipe:0")
	} else {
		args = append(args, "-protocol_whitelist", "pipe", "-probesize", "32", "-analyzeduration", "0", "-f", demuxer, "-i", "pipe:0")
	}
	first := []string{"-frames:v", "1", "-c:v", "wrapped_avframe", "-f", "yuv4mpegpipe", "pipe:1"}
	if thumbnail <= 0 {
		return append(append(args, "-filter_threads", "1", "-vf", luma), first...)
	}
	args = append(args, "-filter_complex_threads", "1", "-filter_complex",
		fmt.Sprintf("[0:v]split=2[a][b];[a]%s[luma];[b]scale='max(1,min(min(%d,iw),%d*iw/ih))':-2:flags=area,format=yuvj420p[small]", luma, thumbnail, 2*thumbnail), "-map", "[luma]")
	args = append(args, first...)
	return append(args, "-map", "[small]", "-frames:v", "1", "-c:v", "mjpeg", "-q:v", "5", "-f", "mjpeg", "pipe:3")
}

// readY4M reads the first picture of a gray YUV4MPEG2 stream.
func readY4M(r *bufio.Reader, l codec.Limits, plane *codec.Plane) error {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) == 0 {
		return errors.New("no picture came out")
	}
	if err != nil || !bytes.HasPrefix(line, []byte("YUV4MPEG2 ")) {
		return fmt.Errorf("read picture header %.40q: %w", line, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	width, height := 0, 0
	for _, f := range strings.Fields(string(line))[1:] {
		switch v := f[1:]; f[0] {
		case 'W':
			width, err = strconv.Atoi(v)
		case 'H':
			height, err = strconv.Atoi(v)
		case 'C':
			if v != "mono" {
				return fmt.Errorf("the picture came as %q, not as luma alone", v)
			}
		}
		if err != nil {
			return fmt.Errorf("read picture header %.40q: %w", line, err)
		}
	}
	if err := l.CheckSize(width, height); err != nil {
		return err
	}
	if line, err = r.ReadSlice('\n'); err != nil || !bytes.HasPrefix(line, []byte("FRAME")) {
		return fmt.Errorf("read picture: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	plane.Resize(width, height, width)
	if _, err := io.ReadFull(r, plane.Pix); err != nil {
		return fmt.Errorf("read picture: %w", err)
	}
	return nil
}

// tail keeps the first lines of what the child complained about, as one line.
type tail struct{ b []byte }

const (
	maxComplaint = 160  // is what fits a capture's detail beside our own words
	maxKept      = 1024 // with what String leaves out
)

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[:min(len(p), maxKept-len(t.b))]...)
	return len(p), nil
}

// String leaves out what says nothing to people: which part of FFmpeg speaks, at
// which address, and that its cache does not know how long a pipe is.
func (t *tail) String() string {
	var said []string
	for line := range strings.Lines(string(t.b)) {
		for strings.HasPrefix(line, "[") {
			speaker, rest, ok := strings.Cut(line, "] ")
			if !ok || !strings.Contains(speaker, " @ 0x") {
				break
			}
			line = rest
		}
		if strings.HasPrefix(line, "Inner protocol failed to seekback") {
			continue
		}
		said = append(said, strings.Fields(strings.TrimPrefix(line, "cache:pipe:0: "))...)
	}
	text := strings.Join(said, " ")
	return text[:min(len(text), maxComplaint)]
}
