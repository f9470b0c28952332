package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxFingerprintFile bounds a file, which may be a recording of some seconds.
const maxFingerprintFile = 256 << 20

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
	width    int // files read at a time
}

// fingerprintCommand reads pictures from files, without a server.
func fingerprintCommand() *cobra.Command {
	var v fingerprintVerb
	cmd := &cobra.Command{
		Use: "fingerprint FILE...", Short: "Print the fingerprints and quality of pictures",
		Long: `Print the fingerprints and quality of pictures, without a server: JPEG, PNG, PGM,
the first key frame of an H.264 or H.265 stream (Annex B), and the first picture
of an MP4 file. What is not decoded by this program needs ffmpeg on the PATH.
A file - is the standard input, a folder stands for the files in it, and a pattern
such as *.jpg that no shell has replaced for what it matches.

-o json prints an array with one object per file, in order and as they are read,
several at a time. A file that cannot be read has an error in its place, and the
exit code is then 1. One that is interrupted closes the array, says on stderr how
many files were read, and exits with 1 as well.

Pictures are taken as they are coded: not turned as EXIF says, and without regard
to transparency or color profiles.

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
  shutterfleet fingerprint --camera yard/
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
	if err := v.check(cmd, args); err != nil {
		return err
	}
	// A recording may be larger than a camera's frame; an MP4 is fed whole.
	v.width = runtime.GOMAXPROCS(0)
	r, err := capture.New(capture.Options{NoThumbnail: true, Width: v.width, Limits: codec.Limits{Bytes: maxFingerprintFile}})
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
	if v.compare {
		return v.runCompare(cmd, args)
	}
	files := expand(args)
	if v.dumpLuma != "" && len(files) != 1 {
		return usage("--dump-luma wants one file: %s stands for %d", args[0], len(files))
	}
	out := &readingsPrinter{v: v, cmd: cmd}
	read, failed := 0, 0
	err = v.each(cmd, files, func(x fingerprinted) error {
		if read++; x.Error != "" {
			failed++
		}
		return out.add(x)
	})
	if closed := out.close(); err == nil {
		err = closed
	}
	switch {
	case cmd.Context().Err() != nil:
		return fmt.Errorf("interrupted: %d of %d files were read", read, len(files))
	case err != nil:
		return err
	case failed > 0:
		return unreadError(failed)
	}
	return nil
}

func (v *fingerprintVerb) check(cmd *cobra.Command, args []string) error {
	inputs := 0
	for _, file := range append([]string{v.maskFile}, args...) {
		if file == "-" {
			inputs++
		}
	}
	switch {
	case v.compare && len(args) != 2:
		return usage("fingerprint --compare wants two files, got %d", len(args))
	case len(args) == 0:
		return usage("fingerprint wants one file or more, for example `shutterfleet fingerprint yard.jpg`: see `%s --help`", cmd.CommandPath())
	case v.dumpLuma != "" && len(args) != 1:
		return usage("--dump-luma wants one file, got %d", len(args))
	case v.dumpLuma != "" && v.dumpLuma != "-" && sameFile(v.dumpLuma, args[0]):
		return usage("--dump-luma %s would overwrite the picture itself: give it another name", v.dumpLuma)
	case v.compare && (isFolder(args[0]) || isFolder(args[1])):
		return usage("fingerprint --compare wants two files, not folders")
	case v.camera && v.compare:
		return usage("--camera and --compare do not go together")
	case v.every <= 0 || !v.camera && cmd.Flags().Changed("every"):
		return usage("--every wants a time above 0, and --camera")
	case inputs > 1:
		return usage("- is the standard input, which can be read once only")
	}
	return v.d.checkOutput()
}

// runCompare reads two files and prints how far they are apart.
func (v *fingerprintVerb) runCompare(cmd *cobra.Command, args []string) error {
	var pair []fingerprinted
	var failed []error
	err := v.each(cmd, args, func(x fingerprinted) error {
		if pair = append(pair, x); x.Error != "" {
			failed = append(failed, fmt.Errorf("%s: %s", x.File, x.Error))
		}
		return nil
	})
	if err := errors.Join(append(failed, err)...); err != nil {
		return err
	}
	return v.printDistance(cmd, pair[0], pair[1])
}

// unreadError ends a run in which files could not be read. Each has been told
// of in its place: it has no further words.
type unreadError int

func (unreadError) Error() string { return "" }
func (unreadError) ExitCode() int { return 1 }
