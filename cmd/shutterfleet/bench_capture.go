package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	ownjpeg "github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// captureReport is what `bench capture` prints.
type captureReport struct {
	CPUs    int                 `json:"cpus"`
	Go      string              `json:"go"`
	Rounds  int                 `json:"rounds"`
	Inputs  []captureInputShown `json:"inputs"`
	Missing []string            `json:"missing"` // peers and inputs that could not be had, and why
}

type captureInputShown struct {
	Input    string           `json:"input"`
	Codec    fleet.Codec      `json:"codec"`
	Bytes    int              `json:"bytes"`
	Decoders []captureDecoder `json:"decoders"`
}

// captureDecoder holds one decoder's figures for one input. The ratio of an own
// decoder is its median of CPU time by the peer's, at the same scale or, for
// peers without scales, at theirs: below 1 it is the faster one.
type captureDecoder struct {
	Decoder  string             `json:"decoder"`
	Scale    int                `json:"scale"` // 8: to an eighth of the width
	MS       percentiles        `json:"ms"`
	CPUMS    percentiles        `json:"cpu_ms"`
	MBAlloc  *float64           `json:"mb_alloc,omitempty"` // per picture; peers in C do not tell
	Allocs   *float64           `json:"allocs,omitempty"`
	SameLuma *bool              `json:"same_luma,omitempty"` // of an own decoder: as libjpeg-turbo or libavcodec has it
	Ratio    map[string]float64 `json:"ratio,omitempty"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

type benchCapture struct {
	d       door
	rounds  int
	only    string
	reader  *capture.Reader
	small   *capture.Reader // makes thumbnails
	peers   *peerProcess
	missing []string
}

func benchCaptureCommand() *cobra.Command {
	var b benchCapture
	cmd := &cobra.Command{
		Use: "capture", Short: "Measure decoding, beside other decoders", Args: noArgs,
		Long: `Measure what decoding one frame takes, beside libjpeg-turbo (gray), libavcodec
(its defaults, on one thread), image/jpeg, and an ffmpeg process per frame. The
frames are drawn, given a sensor's noise and coded to sizes that cameras send.

Every round decodes each input once with each decoder, one after the other, so
that whatever else the machine does meets all of them. Shown are medians and
95th percentiles over the rounds, in milliseconds: ms by the clock, cpu_ms of
CPU (child processes included, background garbage collection not). Ratios are of
cpu_ms: own decoder by peer at the same scale, so below 1 is faster. mb_alloc and
allocs are per frame, after the first. same_luma says whether the plane is the
peer's, sample by sample; at 1/2 and 1/4 libjpeg-turbo has transforms of its own.

The row thumbnail is the decoding and coding of one 320 pixels wide; capture is
what agents do with frames of the codec, and by which decoder. Own decoders leave
out what a fingerprint does not need: color, and the loop filter of video, which
libavcodec and ffmpeg apply. That is part of their lead; same_luma is of a second
decoding, with the filter.

libjpeg-turbo and libavcodec run in a program of their own: make bench-peers.
What is missing is told, and left out.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&b.rounds, "rounds", 15, "how often everything is decoded")
	f.StringVar(&b.only, "inputs", "", "measure only inputs whose names contain this, such as jpeg or 2160p")
	f.StringVarP(&b.d.output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func (b *benchCapture) run(cmd *cobra.Command) (err error) {
	if err := b.d.checkOutput(); err != nil {
		return err
	}
	if b.rounds < 1 {
		return usage("--rounds %d: want at least 1", b.rounds)
	}
	kinds := slices.DeleteFunc(inputKinds(), func(k inputKind) bool { return !strings.Contains(k.name, b.only) })
	if len(kinds) == 0 {
		return usage("--inputs %s: no input is named like that", b.only)
	}
	ctx := cmd.Context()
	if b.reader, err = capture.New(capture.Options{Width: 1, NoThumbnail: true}); err != nil {
		return err
	}
	if b.small, err = capture.New(capture.Options{Width: 1}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "shutterfleet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if path, ok := benchPeers("capture"); !ok {
		b.miss(cmd, "libjpeg-turbo, libavcodec: there is no %s; build it with `make bench-peers`", path)
	} else if b.peers, err = startPeers(ctx, path, dir); err != nil {
		return fmt.Errorf("bench capture: %s: %w; build it anew with `make bench-peers`", path, err)
	}
	defer func() { err = errors.Join(err, b.peers.Close()) }()
	for _, peer := range []string{"libjpeg-turbo", "libavcodec"} {
		if b.peers != nil && !slices.Contains(b.peers.names, peer) {
			b.miss(cmd, "%s: the peers' program was built without it; `make bench-peers` installs it", peer)
		}
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		b.miss(cmd, "ffmpeg process: ffmpeg is not installed")
	}
	report := captureReport{CPUs: runtime.NumCPU(), Go: runtime.Version(), Rounds: b.rounds, Inputs: []captureInputShown{}}
	for _, k := range kinds {
		cmd.PrintErrf("%s\n", k.name)
		in, err := k.make(ctx, dir, b.peers)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			b.miss(cmd, "%s: %v", k.name, err)
			continue
		}
		shown, err := b.measure(cmd, in)
		if err != nil {
			return fmt.Errorf("bench capture: %s: %w", k.name, err)
		}
		report.Inputs = append(report.Inputs, shown)
	}
	report.Missing = append([]string{}, b.missing...)
	return b.d.print(cmd, report, report.table)
}

func (b *benchCapture) miss(cmd *cobra.Command, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.missing = append(b.missing, text)
	cmd.PrintErrln("without " + text)
}

// thumbnailRow is not a decoder: decoding and coding a thumbnail of 320 pixels,
// beside the decoders' figures. No peer does the same.
const thumbnailRow = "thumbnail"

// contender is one decoder at one scale.
type contender struct {
	name   string
	scale  int
	own    bool
	decode func(ctx context.Context) (sample, error)

	samples []sample
}

// inGo says whether what it allocates can be told.
func (c *contender) inGo() bool { return c.own || c.name == "image/jpeg" }

// measure decodes one input by all its decoders in turn.
func (b *benchCapture) measure(cmd *cobra.Command, in captureInput) (captureInputShown, error) {
	shown := captureInputShown{Input: in.name, Codec: in.codec, Bytes: len(in.data)}
	all := b.contenders(in)
	for round := range b.rounds + 1 {
		for i := 0; i < len(all); i++ {
			c := all[i]
			s, err := c.decode(cmd.Context())
			switch {
			case cmd.Context().Err() != nil:
				return shown, context.Cause(cmd.Context())
			case err != nil:
				b.miss(cmd, "%s on %s: %v", c.name, in.name, err)
				all = slices.Delete(all, i, i+1)
				i--
			case round > 0: // the first one warms up
				c.samples = append(c.samples, s)
			}
		}
	}
	for _, c := range all {
		shown.Decoders = append(shown.Decoders, c.figures(all))
	}
	return shown, nil
}

// contenders returns the decoders that can read the input. Own ones keep their
// memory from one frame to the next, as a Reader does.
func (b *benchCapture) contenders(in captureInput) (all []*contender) {
	add := func(name string, scale int, own bool, decode func(context.Context) (sample, error)) {
		all = append(all, &contender{name: name, scale: scale, own: own, decode: decode})
	}
	peer := func(name string, scale int) {
		if b.peers != nil && slices.Contains(b.peers.names, name) {
			add(name, scale, false, func(context.Context) (sample, error) { return b.peers.decode(name, scale, in.codec, in.file) })
		}
	}
	if in.codec == fleet.JPEG {
		for _, scale := range []int{8, 4, 2, 1} {
			var d ownjpeg.Decoder
			var pic codec.Picture
			add("jpeg", scale, true, func(ctx context.Context) (sample, error) {
				s, err := inProcess(func() error { return d.Decode(ctx, in.data, ownjpeg.Options{Scale: scale}, &pic) })
				s.luma = lumaHash(pic.Y)
				return s, err
			})
			peer("libjpeg-turbo", scale)
		}
		add(thumbnailRow, 1, true, func(ctx context.Context) (sample, error) {
			return inProcess(func() error {
				_, err := b.small.Thumbnail(ctx, fleet.Frame{Codec: in.codec, Data: in.data}, nil)
				return err
			})
		})
		add("image/jpeg", 1, false, func(context.Context) (sample, error) {
			return inProcess(func() error { _, err := jpeg.Decode(bytes.NewReader(in.data)); return err })
		})
	} else {
		video := &contender{name: "capture", scale: 1, own: true}
		video.decode = func(ctx context.Context) (s sample, err error) {
			var decoder string
			s, decoder, err = b.decodeVideo(ctx, in)
			video.name = "capture (" + decoder + ")"
			return s, err
		}
		all = append(all, video)
	}
	peer("libavcodec", 1)
	if _, err := exec.LookPath("ffmpeg"); err == nil {
		add("ffmpeg process", 1, false, func(ctx context.Context) (sample, error) { return ffmpegProcess(ctx, in.file) })
	}
	return all
}

// decodeVideo measures the first stage of a Reader, and says which decoder it has
// for the input.
func (b *benchCapture) decodeVideo(ctx context.Context, in captureInput) (s sample, decoder string, err error) {
	f := fleet.Frame{Codec: in.codec, Data: in.data}
	s, err = inProcess(func() error {
		got, err := b.reader.Inspect(ctx, f, capture.Probe{Luma: func(codec.Plane) error { return errDecoded }})
		decoder = got.Decoder
		return unlessDecoded(err)
	})
	if err != nil {
		return s, decoder, err
	}
	// The hash takes longer than the decoding: it is of another one, deblocked
	// as libavcodec's.
	_, err = b.reader.Inspect(ctx, f, capture.Probe{Deblock: true, Luma: func(p codec.Plane) error {
		s.luma = lumaHash(p)
		return errDecoded
	}})
	return s, decoder, unlessDecoded(err)
}

func unlessDecoded(err error) error {
	if errors.Is(err, errDecoded) {
		return nil
	}
	return err
}

// errDecoded ends a reading once its frame is decoded.
var errDecoded = errors.New("decoded")

// inProcess measures a function of this process, after a collection: what the
// one before left is not its.
func inProcess(decode func() error) (s sample, err error) {
	runtime.LockOSThread() // whose time is counted
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu, began := cpuTime(), time.Now()
	err = decode()
	s.wall, s.cpu = time.Since(began), cpuTime()-cpu
	runtime.ReadMemStats(&after)
	s.bytes, s.objects = after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
	return s, err
}

// figures sums up a decoder's samples, beside those of the others.
func (c *contender) figures(all []*contender) captureDecoder {
	d := captureDecoder{
		Decoder: c.name, Scale: c.scale,
		MS:    percentilesOf(c.samples, func(s sample) time.Duration { return s.wall }),
		CPUMS: percentilesOf(c.samples, func(s sample) time.Duration { return s.cpu }),
	}
	if c.inGo() {
		var bytes, objects uint64
		for _, s := range c.samples {
			bytes += s.bytes
			objects += s.objects
		}
		n := float64(len(c.samples))
		mb, allocs := float64(bytes)/n/1e6, float64(objects)/n
		d.MBAlloc, d.Allocs = &mb, &allocs
	}
	if !c.own || c.name == thumbnailRow {
		return d
	}
	d.Ratio = map[string]float64{}
	for _, o := range all {
		scales := o.name == "libjpeg-turbo"
		if o.own || scales && o.scale != c.scale {
			continue
		}
		if theirs := percentilesOf(o.samples, func(s sample) time.Duration { return s.cpu }); theirs.P50 > 0 {
			d.Ratio[o.name] = d.CPUMS.P50 / theirs.P50
		}
		if last := o.samples[len(o.samples)-1].luma; last != 0 && o.scale == c.scale && (scales || c.name != "jpeg") {
			same := last == c.samples[len(c.samples)-1].luma
			d.SameLuma = &same
		}
	}
	return d
}

func percentilesOf(samples []sample, of func(sample) time.Duration) percentiles {
	var all []time.Duration
	for _, s := range samples {
		all = append(all, of(s))
	}
	slices.Sort(all)
	at := func(q float64) float64 { return milliseconds(all[min(len(all)-1, int(q*float64(len(all))))]) }
	return percentiles{P50: at(0.5), P95: at(0.95)}
}

func (r captureReport) table(w *bytes.Buffer) {
	fmt.Fprintln(w, "INPUT\tKB\tDECODER\tSCALE\tMS P50\tP95\tCPU MS\tMB ALLOC\tRATIO TO PEERS")
	for _, in := range r.Inputs {
		for _, d := range in.Decoders {
			alloc := "-"
			if d.MBAlloc != nil {
				alloc = fmt.Sprintf("%.2f", *d.MBAlloc)
			}
			var ratios []string
			for name, v := range d.Ratio {
				ratios = append(ratios, fmt.Sprintf("%s %.2f", name, v))
			}
			slices.Sort(ratios)
			fmt.Fprintf(w, "%s\t%d\t%s\t1/%d\t%.2f\t%.2f\t%.2f\t%s\t%s\n",
				in.Input, in.Bytes/1000, d.Decoder, d.Scale, d.MS.P50, d.MS.P95, d.CPUMS.P50, alloc, strings.Join(ratios, ", "))
		}
	}
}
