package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxFingerprintFile bounds a file, which may be a recording of some seconds.
const maxFingerprintFile = 256 << 20

// fingerprinted is one file's object: what was read, or why it was not.
type fingerprinted struct {
	File string `json:"file"`
	*PictureReading
	Error string      `json:"error,omitempty"`
	Cause fleet.Cause `json:"cause,omitempty"`
}

// PictureReading is what was read of a picture. It is exported for the sake of
// encoding/json, which sets embedded pointers of exported types alone.
type PictureReading struct {
	Width      int           `json:"width"`
	Height     int           `json:"height"`
	Codec      fleet.Codec   `json:"codec"`
	Decoder    string        `json:"decoder"`
	Deblocked  bool          `json:"deblocked"`    // the loop filter of a video frame was applied
	PDQ        fleet.PDQ     `json:"pdq,omitzero"` // absent, as pHash is, of a damaged picture and of one that is too small
	PDQQuality int           `json:"pdq_quality"`
	PHash      fleet.PHash   `json:"phash,omitzero"`
	Dihedral   *DihedralPDQ  `json:"pdq_dihedral,omitempty"` // with --dihedral
	SHA256     string        `json:"sha256"`                 // of the frame: of a stream, its first key frame
	Mask       fleet.MaskSum `json:"mask,omitzero"`          // of --mask: hashes under different masks do not compare
	Quality    fleet.Quality `json:"quality"`
	Focus      jpeg.Focus    `json:"focus,omitempty"` // of a JPEG of which nothing is hidden: sharp, soft or blurred
	PictureVerdict
	MS map[string]float64 `json:"ms"` // by stage
}

type fingerprintVerb struct {
	d        door
	dumpLuma string
	maskFile string
	mask     *fleet.Mask
	deblock  bool
	compare  bool
	dihedral bool
	camera   bool
	every    time.Duration
	reader   *capture.Reader
	judge    stillJudge
}

// fingerprintCommand reads pictures from files, without a server.
func fingerprintCommand() *cobra.Command {
	var v fingerprintVerb
	cmd := &cobra.Command{
		Use: "fingerprint FILE...", Short: "Print the fingerprints and quality of pictures",
		Long: `Print the fingerprints and quality of pictures, without a server: JPEG, PNG, PGM,
the first key frame of an H.264 or H.265 stream (Annex B), and the first picture
of an MP4 file. What is not decoded by this program needs ffmpeg on the PATH.
A file - is the standard input.

-o json prints an array with one object per file, in order. A file that cannot
be read has an error in its place, and the exit code is then 1.

The verdict is what an agent says of the first picture of a camera that it does
not know: black, over-exposed, flat or corrupt, which are so for any camera. With
--camera the files are frames of one camera, in this order and --every so far
apart: each is judged by those before it, as an agent would, and after 16 ordinary
ones there are also blurred, covered, moved, frozen, noisy and under-exposed.
focus is how sharp a JPEG is for its size, without a picture to compare with.

--dihedral adds the eight PDQ hashes that the picture would have if it were turned
or mirrored. --compare A B tells how far two pictures are apart, and what that
means; with --dihedral it also finds B in A turned or mirrored, and says how.
--dump-luma writes the plane that all was computed from. For a stream it is as
the decoder gave it; --deblock asks for the loop filter, so that the plane is
that of the standard.`,
		Example: `  shutterfleet fingerprint yard.jpg gate.h264 -o json
  shutterfleet fingerprint --camera yard/*.jpg
  shutterfleet fingerprint --compare yesterday.jpg today.jpg
  shutterfleet fingerprint --compare --dihedral before.jpg remounted.jpg
  ffmpeg -i rtsp://... -c copy -f h264 -t 5 - | shutterfleet fingerprint -`,
		RunE: v.run,
	}
	f := cmd.Flags()
	f.StringVarP(&v.d.output, "output", "o", "table", "table, json or yaml")
	f.StringVar(&v.dumpLuma, "dump-luma", "", "write the decoded luma of the one FILE here, as PGM")
	f.BoolVar(&v.deblock, "deblock", false, "apply the loop filter of H.264")
	f.StringVar(&v.maskFile, "mask", "", "hide what this file says (JSON, as for cameras mask), as agents do")
	f.BoolVar(&v.compare, "compare", false, "tell how far two pictures are apart")
	f.BoolVar(&v.dihedral, "dihedral", false, "also the hashes of the picture turned and mirrored")
	f.BoolVar(&v.camera, "camera", false, "judge the files as frames of one camera, in this order")
	f.DurationVar(&v.every, "every", time.Minute, "with --camera: how far the frames are apart")
	return cmd
}

func (v *fingerprintVerb) run(cmd *cobra.Command, args []string) error {
	switch {
	case v.compare && len(args) != 2:
		return usage("fingerprint --compare wants two files")
	case len(args) == 0:
		return usage("fingerprint wants one file or more")
	case v.dumpLuma != "" && len(args) != 1:
		return usage("--dump-luma wants one file, got %d", len(args))
	case v.camera && v.compare:
		return usage("--camera and --compare do not go together")
	case v.every <= 0 || !v.camera && cmd.Flags().Changed("every"):
		return usage("--every wants a time above 0, and --camera")
	}
	if err := v.d.checkOutput(); err != nil {
		return err
	}
	// A recording may be larger than a camera's frame; an MP4 is fed whole.
	r, err := capture.New(capture.Options{NoThumbnail: true, Limits: codec.Limits{Bytes: maxFingerprintFile}})
	if err != nil {
		return err
	}
	v.reader = r
	v.judge = stillJudge{camera: v.camera, every: v.every}
	if v.maskFile != "" {
		if v.mask, err = readMask(cmd, v.maskFile); err != nil {
			return fmt.Errorf("--mask: %w", err)
		}
	}
	out, failed := make([]fingerprinted, len(args)), 0
	for i, file := range args {
		out[i].File = file
		if out[i].PictureReading, err = v.read(cmd, file); err != nil {
			failed++
			out[i].Error = strings.TrimPrefix(err.Error(), file+": ")
			if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
				out[i].Cause = ce.Cause
			}
		}
	}
	if v.compare {
		if failed == 0 {
			return v.printDistance(cmd, out[0], out[1])
		}
		for _, o := range out {
			if o.Error != "" {
				return fmt.Errorf("%s: %s", o.File, o.Error)
			}
		}
	}
	if err := v.d.print(cmd, out, v.table(cmd, out)); err != nil {
		return err
	}
	if failed > 0 {
		return unreadError(failed)
	}
	return nil
}

// unreadError ends a run in which files could not be read. Each has been told
// of in its place: it has no further words.
type unreadError int

func (unreadError) Error() string { return "" }
func (unreadError) ExitCode() int { return 1 }

func (v *fingerprintVerb) table(cmd *cobra.Command, out []fingerprinted) func(*bytes.Buffer) {
	var read []fingerprinted
	for _, o := range out {
		if o.PictureReading != nil {
			read = append(read, o)
		}
		if o.Error != "" && v.d.output == "table" {
			cmd.PrintErrf("%s: %s\n", plain(o.File), plain(o.Error))
		}
	}
	if v.dihedral {
		return turnedRows(cmd, read)
	}
	return rows(cmd, read, "no picture was read", "FILE SIZE CODEC VERDICT PDQ PDQ-QUALITY PHASH", func(x fingerprinted) []any {
		row := []any{x.File, fmt.Sprintf("%dx%d", x.Width, x.Height), x.Codec, x.word(v.camera), "-", x.PDQQuality, "-"}
		if x.PDQ != (fleet.PDQ{}) {
			row[4], row[6] = x.PDQ, x.PHash
		}
		return row
	})
}

// read reads one file. Of a damaged picture there is a reading beside the error.
func (v *fingerprintVerb) read(cmd *cobra.Command, file string) (*PictureReading, error) {
	data, err := readFile(cmd, file, maxFingerprintFile)
	if err != nil {
		return nil, err
	}
	f, err := frameOf(data)
	if err != nil {
		return nil, err
	}
	ms := map[string]float64{}
	began := time.Now()
	last := began
	// Focus is of all of the picture, before the mask.
	var detail jpeg.Detail
	asked := &detail
	if !v.mask.Empty() {
		asked = nil
	}
	var turned *pdq.Dihedral
	if v.dihedral {
		turned = new(pdq.Dihedral)
	}
	in, err := v.reader.Inspect(cmd.Context(), f, capture.Probe{
		Mask: v.mask, Deblock: v.deblock, Detail: asked, Dihedral: turned, Judge: v.judge.judge,
		Done: func(s capture.Stage) {
			now := time.Now()
			ms[string(s)] = milliseconds(now.Sub(last))
			last = now
		},
		Luma: func(p codec.Plane) error {
			if v.dumpLuma == "" {
				return nil
			}
			defer func() { last = time.Now() }() // no part of the next stage
			return writePGM(v.dumpLuma, p)
		},
	})
	if err != nil {
		return nil, err
	}
	ms["total"] = 0
	for s, t := range ms {
		if s != "total" {
			ms["total"] += t
		}
	}
	if v.deblock && !in.Deblocked {
		if f.Codec == fleet.H264 || f.Codec == fleet.H265 {
			cmd.PrintErrf("%s: --deblock was not honoured: the %s decoder has no loop filter\n", file, in.Decoder)
		} else {
			cmd.PrintErrf("%s: --deblock changes nothing: a %s has no loop filter\n", file, f.Codec)
		}
	}
	if !v.deblock && in.Deblocked && v.dumpLuma != "" {
		cmd.PrintErrf("%s: the plane is deblocked: %s always applies the loop filter\n", file, in.Decoder)
	}
	res := &PictureReading{
		Width: int(in.Width), Height: int(in.Height), Codec: f.Codec, Decoder: in.Decoder, Deblocked: in.Deblocked,
		PDQ: in.Fingerprint.PDQ, PDQQuality: int(in.Fingerprint.PDQQuality), PHash: in.Fingerprint.PHash, Mask: in.Fingerprint.Mask,
		SHA256: hex.EncodeToString(in.SHA256[:]), Quality: in.Quality, Focus: detail.Focus(), PictureVerdict: verdictOf(in.Verdict), MS: ms,
	}
	if turned != nil && in.Fingerprint.PDQ != (fleet.PDQ{}) {
		res.Dihedral = (*DihedralPDQ)(turned)
	}
	if in.Missing > 0 {
		return res, codec.Corrupt("%.1f %% of the picture is missing: it has no fingerprint", 100*in.Missing)
	}
	return res, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// frameOf finds the one frame of a file that is read.
func frameOf(data []byte) (fleet.Frame, error) {
	c, ok := codec.Sniff(data)
	switch {
	case !ok && len(data) == 0:
		return fleet.Frame{}, codec.Corrupt("the file is empty")
	case !ok:
		return fleet.Frame{}, codec.Unsupported("no picture that is known: want JPEG, PNG, PGM, an H.264 or H.265 stream (Annex B), or MP4")
	case c == fleet.H264 || c == fleet.H265:
		var err error
		if data, err = codec.KeyFrame(c, data); err != nil {
			return fleet.Frame{}, err
		}
	}
	return fleet.Frame{Data: data, Codec: c}, nil
}

// writePGM writes a plane without its padding.
func writePGM(file string, p codec.Plane) error {
	b := fmt.Appendf(nil, "P5\n%d %d\n255\n", p.Width, p.Height)
	for y := range p.Height {
		b = append(b, p.Row(y)...)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("--dump-luma: %w", err)
	}
	return nil
}
