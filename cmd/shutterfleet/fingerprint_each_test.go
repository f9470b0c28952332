package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// plate is a PGM of a drawn picture.
func plate(scene string, w, h int) []byte {
	return append(fmt.Appendf(nil, "P5\n%d %d\n255\n", w, h), codectest.Gen(scene, w, h)...)
}

func write(t *testing.T, file string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestFingerprintKeepsOrder reads files of which the first take longest, and many
// more than are read at a time.
func TestFingerprintKeepsOrder(t *testing.T) {
	dir := t.TempDir()
	var args, sizes []string
	for i := range 60 {
		w, h := 1600-25*i, 900-13*i
		args = append(args, write(t, filepath.Join(dir, fmt.Sprintf("%02d.pgm", i)), plate("ramp", w, h)))
		sizes = append(sizes, fmt.Sprintf("%dx%d", w, h))
		if i%7 == 3 {
			args, sizes = append(args, filepath.Join(dir, fmt.Sprintf("none%d", i))), append(sizes, "")
		}
	}
	check := func(form string, got []fingerprinted) {
		t.Helper()
		if len(got) != len(args) {
			t.Fatalf("%s: %d objects of %d files", form, len(got), len(args))
		}
		for i, x := range got {
			size := ""
			if x.PictureReading != nil {
				size = fmt.Sprintf("%dx%d", x.Width, x.Height)
			}
			if x.File != args[i] || size != sizes[i] || (size == "") != (x.Error != "") {
				t.Errorf("%s: object %d is %s of %q (%s), want %s of %q", form, i, x.File, size, x.Error, args[i], sizes[i])
			}
		}
	}
	code, stdout, _ := fingerprint(t, append([]string{"-o", "json"}, args...)...)
	var got []fingerprinted
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 1 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	check("json", got)
	// What is printed piece by piece is what it would be as a whole.
	whole, err := json.MarshalIndent(json.RawMessage(stdout), "", "  ")
	if err != nil || string(whole)+"\n" != stdout {
		t.Errorf("the array is not laid out as other verbs do: %v\n%s", err, stdout)
	}
	_, stdout, _ = fingerprint(t, append([]string{"-o", "yaml"}, args...)...)
	fromYAML, err := yaml.YAMLToJSON([]byte(stdout))
	got = nil
	if err == nil {
		err = json.Unmarshal(fromYAML, &got)
	}
	if err != nil {
		t.Fatalf("yaml: %v", err)
	}
	check("yaml", got)

	// More rows than are held back at a time, with one header.
	many := make([]string, blockRows+20)
	for i := range many {
		many[i] = args[len(args)-2] // a small one
	}
	_, stdout, _ = fingerprint(t, many...)
	if n := strings.Count(stdout, "\n"); n != len(many)+1 || strings.Count(stdout, "PDQ-QUALITY") != 1 {
		t.Errorf("%d lines of %d files", n, len(many))
	}
}

// watched tells when something was written that holds a text.
type watched struct {
	mu    sync.Mutex
	b     bytes.Buffer
	want  string
	found chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.b.Write(p)
	if w.want != "" && strings.Contains(w.b.String(), w.want) {
		w.want = ""
		close(w.found)
	}
	return n, err
}

// TestFingerprintInterrupted prints a picture while the next one, from a pipe,
// never comes, and ends what it printed when it is interrupted.
func TestFingerprintInterrupted(t *testing.T) {
	file := pgm(t, "clouds", 320, 180, nil)
	for form, want := range map[string]string{"json": `"file": "` + file, "yaml": "file: " + file, "table": ""} {
		ctx, cancel := context.WithCancel(t.Context())
		in, held := io.Pipe()
		out := &watched{want: want, found: make(chan struct{})}
		root := rootCommand()
		root.SetArgs([]string{"fingerprint", "-o", form, file, "-", file})
		root.SetIn(in)
		root.SetOut(out)
		root.SetErr(io.Discard)
		ended := make(chan error)
		go func() { ended <- root.ExecuteContext(ctx) }()
		if want != "" {
			<-out.found // printed, though the next one is waited for
		} else if _, err := held.Write([]byte{0xFF}); err != nil { // it is being read
			t.Fatal(err)
		}
		cancel()
		err := <-ended
		held.Close()
		if err == nil || !strings.Contains(err.Error(), "interrupted:") || !strings.Contains(err.Error(), "of 3 files") {
			t.Errorf("%s: %v", form, err)
		}
		var got []fingerprinted
		text := out.b.Bytes()
		if form == "yaml" {
			if text, err = yaml.YAMLToJSON(text); err != nil {
				t.Errorf("yaml: %v", err)
			}
		}
		if form != "table" {
			if err := json.Unmarshal(text, &got); err != nil || len(got) != 1 || got[0].File != file || got[0].Error != "" {
				t.Errorf("%s: %v: %s", form, err, &out.b)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"fingerprint", "-o", "json", file}, &out, &errs); code != 1 || strings.TrimSpace(out.String()) != "[]" || !strings.Contains(errs.String(), "0 of 1") {
		t.Errorf("interrupted at once: exit code %d, %s%s", code, &out, &errs)
	}
}

// full is a place that takes nothing.
type full struct{ writes int }

func (f *full) Write([]byte) (int, error) {
	f.writes++
	return 0, errors.New("no space left on device")
}

// TestFingerprintFullDisk ends when nobody takes what it prints, and says so once.
func TestFingerprintFullDisk(t *testing.T) {
	file := pgm(t, "clouds", 64, 64, nil)
	files := []string{"fingerprint", "-o", "json"}
	for range 100 {
		files = append(files, file)
	}
	var out full
	var errs bytes.Buffer
	if code := run(t.Context(), files, &out, &errs); code != 1 || strings.Count(errs.String(), "no space left") != 1 || out.writes > 2 {
		t.Errorf("exit code %d after %d writes: %s", code, out.writes, &errs)
	}
}

// TestFingerprintCameraOrder judges frames that are read several at a time as
// one after the other would be, some of which cannot be read.
func TestFingerprintCameraOrder(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--camera", "--every", "20s"}
	r, err := capture.New(capture.Options{NoThumbnail: true})
	if err != nil {
		t.Fatal(err)
	}
	var want []PictureVerdict
	var state quality.State
	for i := range 30 {
		if i == 4 || i == 5 || i == 26 {
			args, want = append(args, filepath.Join(dir, "none.pgm")), append(want, PictureVerdict{})
			continue
		}
		data := plate("checker", 1280-400*(i%3), 720-200*(i%3)) // the small ones are read first
		if i == 25 || i == 27 {
			data = plate("flat", 640, 360)
		}
		for k := range 40 { // some life
			data[len(data)/2+997*k+13*i] ^= 0x30
		}
		args = append(args, write(t, filepath.Join(dir, fmt.Sprintf("%02d.pgm", i)), data))
		res, err := r.ReadJudged(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: data}, nil, func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
			x.At = time.Date(2000, 1, 1, 0, 0, 20*i, 0, time.UTC)
			var v quality.Verdict
			v, state = quality.Judge(quality.Options{}, state, x)
			return v.Record()
		})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, verdictOf(res.Verdict))
	}
	got, code, stderr := judged(t, args...)
	if code != 1 || len(got) != len(want) {
		t.Fatalf("exit code %d, %d objects: %s", code, len(got), stderr)
	}
	for i, x := range got {
		if (x.PictureReading == nil) != (want[i].Verdict == "") || x.PictureReading != nil && !reflect.DeepEqual(x.PictureVerdict, want[i]) {
			t.Errorf("frame %d: %+v, want %+v", i, x, want[i])
		}
	}
	// After 40 s, of which the frame between them has its part, it lasts.
	if want[27].Verdict != fleet.FaultFlat || want[27].Lasting != fleet.FaultFlat || want[24].Learning {
		t.Errorf("the frames prove little: %+v, %+v", want[24], want[27])
	}
}

// TestFingerprintCameraWaits has the first frame come last, from a pipe, when all
// others were read and one of them could not be: none is judged before it.
func TestFingerprintCameraWaits(t *testing.T) {
	dir := t.TempDir()
	files := []string{"-", filepath.Join(dir, "none.pgm")}
	for i := range 20 {
		files = append(files, write(t, filepath.Join(dir, fmt.Sprintf("%02d.pgm", i)), plate("checker", 160, 96)))
	}
	synctest.Test(t, func(t *testing.T) {
		const width = 6 // six times four may wait: all of them
		r, err := capture.New(capture.Options{NoThumbnail: true, Width: width})
		if err != nil {
			t.Fatal(err)
		}
		v := fingerprintVerb{camera: true, reader: r, width: width, judge: stillJudge{camera: true, every: time.Minute}}
		in, held := io.Pipe()
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetIn(in)
		var got []fingerprinted
		ended := make(chan error)
		go func() {
			ended <- v.each(cmd, files, func(x fingerprinted) error {
				got = append(got, x)
				return nil
			})
		}()
		synctest.Wait() // whoever does not wait for the first frame is done
		if len(got) > 0 {
			t.Errorf("%d objects before the first frame", len(got))
		}
		if _, err := held.Write(plate("checker", 160, 96)); err != nil {
			t.Fatal(err)
		}
		held.Close()
		if err := <-ended; err != nil || len(got) != len(files) {
			t.Fatalf("%d objects: %v", len(got), err)
		}
		for i, x := range got {
			if i == 1 {
				continue
			}
			// 16 ordinary frames are learned, of which the first is one.
			ordinal := i + 1
			if i > 1 {
				ordinal--
			}
			if x.PictureReading == nil || x.Learning != (ordinal <= 16) {
				t.Errorf("frame %d, the %d. that can be read: %+v", i, ordinal, x)
			}
		}
	})
}

// TestFingerprintCameraInterrupted: once a run is interrupted nobody judges any
// more, for those before may be judging still.
func TestFingerprintCameraInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := make(chan struct{})
	close(before)
	j := stillJudge{camera: true, every: time.Minute}
	for range 20 { // whichever a select takes
		if v := j.at(ctx, &pending{before: before})(nil, quality.Sample{}); v != (fleet.Verdict{}) || j.state != (quality.State{}) {
			t.Fatalf("it is %+v", v)
		}
	}
}
