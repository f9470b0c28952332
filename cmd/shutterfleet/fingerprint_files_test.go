package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// video runs ffmpeg on a drawn picture.
func video(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180"}, args...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %v (the tests need it): %v: %s", args, err, &complaints)
	}
	return out
}

// TestFingerprintErrors: each says what is wrong and what to do.
func TestFingerprintErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	good := video(t, "-frames:v", "1", "-f", "mjpeg", "-")
	huge := bytes.Clone(good)
	sof := bytes.Index(huge, []byte{0xFF, 0xC0})
	copy(huge[sof+5:], []byte{0xFF, 0xFF, 0xFF, 0xFF})
	stream := video(t, "-frames:v", "6", "-g", "3", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-x264-params", "scenecut=0", "-f", "h264", "-")
	var noKeys, lengths []byte
	for _, u := range bytes.Split(stream, []byte{0, 0, 1})[1:] {
		u = bytes.TrimRight(u, "\x00")
		if u[0]&31 != 5 {
			noKeys = append(append(noKeys, 0, 0, 0, 1), u...)
		}
		lengths = append(append(lengths, byte(len(u)>>24), byte(len(u)>>16), byte(len(u)>>8), byte(len(u))), u...)
	}
	mp4 := filepath.Join(dir, "whole.mp4")
	video(t, "-frames:v", "6", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-f", "mp4", mp4)
	recording, err := os.ReadFile(mp4)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		data  []byte
		wants []string
		cause fleet.Cause
	}{
		{"empty.jpg", []byte{}, []string{"empty", "copy or record it again"}, fleet.CauseCorrupt},
		{"text.jpg", []byte("hello\r\n"), []string{"want JPEG"}, fleet.CauseUnsupportedCodec},
		{"cut.jpg", good[:len(good)/4], []string{"cut off", "copy or record it again"}, fleet.CauseCorrupt},
		{"head.jpg", good[:100], []string{"cut off", "copy or record it again"}, fleet.CauseCorrupt},
		{"huge.jpg", huge, []string{"65535x65535", "scale it down"}, fleet.CauseTooLarge},
		{"p2.pgm", []byte("P2\n2 2\n255\n1 2 3 4\n"), []string{"P5", "convert it"}, fleet.CauseUnsupportedCodec},
		{"deep.pgm", []byte("P5\n2 2\n65535\n12345678"), []string{"65535", "convert it"}, fleet.CauseUnsupportedCodec},
		{"color.ppm", []byte("P6\n1 1\n255\nabc"), []string{"P6", "convert it"}, fleet.CauseUnsupportedCodec},
		{"x.gif", []byte("GIF89a..........."), []string{"GIF", "convert it"}, fleet.CauseUnsupportedCodec},
		{"x.webp", []byte("RIFF....WEBPVP8 ...."), []string{"WebP", "convert it"}, fleet.CauseUnsupportedCodec},
		{"x.avi", []byte("RIFF....AVI LIST...."), []string{"AVI", "take its video out"}, fleet.CauseUnsupportedCodec},
		{"x.mkv", []byte("\x1A\x45\xDF\xA3............"), []string{"Matroska", "take its video out"}, fleet.CauseUnsupportedCodec},
		{"x.ts", bytes.Repeat(append([]byte{0x47}, make([]byte, 187)...), 3), []string{"transport stream", "take its video out"}, fleet.CauseUnsupportedCodec},
		{"x.heic", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"), []string{"HEIF", "convert it"}, fleet.CauseUnsupportedCodec},
		{"avcc.h264", lengths, []string{"lengths in place of start codes", "h264_mp4toannexb"}, fleet.CauseUnsupportedCodec},
		{"nokeys.h264", noKeys, []string{"no key frame", "record it for longer"}, fleet.CauseNoKeyframe},
		{"cut.mp4", recording[:len(recording)/2], []string{"moov atom not found", "copy or record it again"}, fleet.CauseCorrupt},
		{"none.jpg", nil, []string{"no such file", "check its name"}, ""},
		{"*.tiff", nil, []string{"no file matches", "check"}, ""},
		{"empty", nil, []string{"a folder without files", "name pictures"}, ""},
	} {
		file := filepath.Join(dir, c.name)
		if c.data != nil {
			write(t, file, c.data)
		}
		out, code, _ := judged(t, file)
		if code != 1 || len(out) != 1 || out[0].File != file || out[0].Cause != c.cause || slices.ContainsFunc(c.wants, func(s string) bool { return !strings.Contains(out[0].Error, s) }) ||
			strings.Contains(out[0].Error, file) || strings.Contains(out[0].Error, "0x") {
			t.Errorf("%s: exit code %d, %+v, want %q", c.name, code, out, c.wants)
		}
		code, stdout, stderr := fingerprint(t, file)
		if code != 1 || stdout != "" || !strings.HasPrefix(stderr, file+": "+out[0].Error) {
			t.Errorf("%s: exit code %d\n%s\n%s", c.name, code, stdout, stderr)
		}
	}
	if text := unreadable("x", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}); !strings.Contains(text, "may not read it") || !strings.Contains(text, "chmod") {
		t.Errorf("no permission: %s", text)
	}
	if text := unreadable("x", &fs.PathError{Op: "read", Path: "x", Err: errors.New("input/output error")}); text != "read x: input/output error" {
		t.Errorf("a broken disk: %s", text)
	}
	if _, _, stderr := fingerprint(t, "--compare", filepath.Join(dir, "none.jpg"), filepath.Join(dir, "text.jpg")); !strings.Contains(stderr, "no such file") || !strings.Contains(stderr, "text.jpg: no picture") {
		t.Errorf("both of a pair: %s", stderr)
	}

	t.Setenv("PATH", t.TempDir())
	for file, data := range map[string][]byte{mp4: recording, filepath.Join(dir, "x.h265"): append([]byte{0, 0, 0, 1, 64, 1, 12, 0, 0, 0, 1, 66, 1, 1, 0, 0, 0, 1, 68, 1, 1, 0, 0, 0, 1, 38, 1}, 0x80, 9, 9)} {
		write(t, file, data)
		if _, code, _ := judged(t, file); code != 1 {
			t.Errorf("%s without ffmpeg: exit code %d", file, code)
		}
		if _, _, stderr := fingerprint(t, file); !strings.Contains(stderr, "not on the PATH: install it") || strings.Contains(stderr, "agent") {
			t.Errorf("%s without ffmpeg: %s", file, stderr)
		}
	}
}

// TestFingerprintKindsOfPictures: one picture in many codings has one hash, or
// nearly, and is never turned.
func TestFingerprintKindsOfPictures(t *testing.T) {
	dir := t.TempDir()
	upright := video(t, "-frames:v", "1", "-f", "mjpeg", "-q:v", "2", "-")
	// EXIF that says: turned by 90 degrees.
	exif := append([]byte{0xFF, 0xD8, 0xFF, 0xE1, 0, 34}, "Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"...)
	exif = append(exif, upright[2:]...)
	if _, err := jpeg.Decode(bytes.NewReader(exif)); err != nil {
		t.Fatal(err)
	}
	stream := video(t, "-frames:v", "8", "-g", "4", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-x264-params", "scenecut=0", "-f", "h264", "-")
	args := []string{
		write(t, filepath.Join(dir, "upright.jpg"), upright),
		write(t, filepath.Join(dir, "exif.jpg"), exif),
		write(t, filepath.Join(dir, "interlaced.png"), video(t, "-frames:v", "1", "-flags", "+ildct", "-pix_fmt", "rgb24", "-c:v", "png", "-f", "image2pipe", "-")),
		write(t, filepath.Join(dir, "deep.png"), video(t, "-frames:v", "1", "-pix_fmt", "rgb48be", "-c:v", "png", "-f", "image2pipe", "-")),
		write(t, filepath.Join(dir, "deepgray.png"), video(t, "-frames:v", "1", "-pix_fmt", "gray16be", "-c:v", "png", "-f", "image2pipe", "-")),
		write(t, filepath.Join(dir, "alpha.png"), video(t, "-frames:v", "1", "-vf", "format=rgba,colorchannelmixer=aa=0.1", "-c:v", "png", "-f", "image2pipe", "-")),
		write(t, filepath.Join(dir, "windows.pgm"), append([]byte("P5\r\n320 180\r\n255\n"), video(t, "-frames:v", "1", "-vf", "format=yuv420p,extractplanes=y", "-f", "rawvideo", "-")...)),
		write(t, filepath.Join(dir, "444.h264"), video(t, "-frames:v", "1", "-pix_fmt", "yuv444p", "-c:v", "libx264", "-f", "h264", "-")),
		write(t, filepath.Join(dir, "stream.h264"), stream),
	}
	if png, err := os.ReadFile(args[2]); err != nil || png[28] != 1 {
		t.Fatalf("the PNG is not interlaced: %v", err)
	}
	out, code, stderr := judged(t, args...)
	if code != 0 || len(out) != len(args) {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for i, x := range out {
		if d := pdqDistance(x.PDQ, out[0].PDQ); x.Width != 320 || x.Height != 180 || d > 10 {
			t.Errorf("%s: %dx%d, %d bits from the JPEG", args[i], x.Width, x.Height, d)
		}
	}
	if out[0].PDQ != out[1].PDQ || out[2].PDQ != out[5].PDQ {
		t.Error("EXIF and transparency are not left out of account")
	}
	// A stream that begins within a group of pictures has a later first key frame.
	begin := bytes.Index(stream, []byte{0, 0, 1, 0x41})
	late, _, _ := judged(t, write(t, filepath.Join(dir, "late.h264"), stream[begin:]))
	if late[0].PictureReading == nil || late[0].SHA256 == out[8].SHA256 || late[0].Width != 320 {
		t.Errorf("a stream without its begin: %+v", late[0])
	}
}

// endless is a stream of which no end comes, and which says how much was read.
type endless struct {
	first, again []byte
	read         int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.first) == 0 {
		e.first = e.again
	}
	n := copy(p, e.first)
	e.first = e.first[n:]
	e.read += n
	return n, nil
}

// TestFingerprintEndlessStream: a camera's stream is read until its first key frame
// is there, and no further than twice that and a look.
func TestFingerprintEndlessStream(t *testing.T) {
	group := video(t, "-frames:v", "3", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-f", "h264", "-")
	begin := bytes.Index(group, []byte{0, 0, 1, 0x41})
	in := &endless{first: group, again: group[begin:]}
	root := rootCommand()
	var out bytes.Buffer
	root.SetArgs([]string{"fingerprint", "-", "-o", "json"})
	root.SetIn(in)
	root.SetOut(&out)
	if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), `"width": 320`) || in.read > 4*firstLook {
		t.Errorf("%v after %d bytes: %s", err, in.read, &out)
	}
	// A key frame that is longer than a look is read whole: here in pieces.
	want, err := codec.KeyFrame(fleet.H264, group)
	if err != nil {
		t.Fatal(err)
	}
	long := append(bytes.Clone(want), bytes.Repeat([]byte{7}, 3*firstLook)...)
	got, err := readPicture(io.MultiReader(bytes.NewReader(long), &endless{first: group[begin:], again: group[begin:]}))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := codec.KeyFrame(fleet.H264, got); err != nil || len(key) != len(long) {
		t.Errorf("%v: %d bytes of a key frame of %d", err, len(key), len(long))
	}
}

// TestFingerprintFolders: a folder and a pattern stand for files in order.
func TestFingerprintFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.pgm", "a.pgm", "c.txt", ".hidden"} {
		write(t, filepath.Join(dir, name), plate("clouds", 64, 64))
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	odd := write(t, filepath.Join(dir, "sub", "what[1].pgm"), plate("clouds", 64, 64))
	at := func(names ...string) (files []string) {
		for _, n := range names {
			files = append(files, filepath.Join(dir, n))
		}
		return files
	}
	for _, c := range []struct {
		args, want []string
	}{
		{[]string{dir}, at("a.pgm", "b.pgm", "c.txt")},
		{at("*.pgm"), at("a.pgm", "b.pgm")},
		{at("b.pgm", "b.pgm", "none"), at("b.pgm", "b.pgm", "none")},
		{[]string{odd}, []string{odd}}, // what is there is no pattern
		{append([]string{"-"}, at("?.txt", "[")...), append([]string{"-"}, at("c.txt", "[")...)},
	} {
		if got := expand(c.args); !slices.Equal(got, c.want) {
			t.Errorf("expand(%q) = %q, want %q", c.args, got, c.want)
		}
	}
	if out, code, stderr := judged(t, dir); code != 0 || len(out) != 3 || out[1].PDQ != out[0].PDQ {
		t.Errorf("exit code %d, %d objects: %s", code, len(out), stderr)
	}
}

func TestFingerprintInputs(t *testing.T) {
	file := pgm(t, "clouds", 64, 64, nil)
	folder := t.TempDir()
	write(t, filepath.Join(folder, "a.pgm"), plate("clouds", 64, 64))
	write(t, filepath.Join(folder, "b.pgm"), plate("clouds", 64, 64))
	dump := filepath.Join(t.TempDir(), "dump.pgm")
	for _, args := range [][]string{{"-", "-"}, {"--mask", "-", "-"}, {"--dump-luma", file, file}, {"--dump-luma", dump, folder}, {"--compare", file, folder}} {
		if code, _, stderr := fingerprint(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: exit code %d, %s", args, code, stderr)
		}
	}
	if _, err := os.Stat(dump); err == nil {
		t.Error("a plane was written of pictures that are refused")
	}
	// As editors on Windows write it.
	mask := write(t, filepath.Join(t.TempDir(), "mask.json"), []byte("\xEF\xBB\xBF{\"rectangles\": [\r\n{\"x\": 0.5, \"y\": 0, \"width\": 0.5, \"height\": 1}]}\r\n"))
	out, code, stderr := judged(t, "--mask", mask, file)
	if code != 0 || out[0].Mask == (fleet.MaskSum(0)) {
		t.Errorf("exit code %d, %+v: %s", code, out, stderr)
	}
	if got, want := fmt.Sprint(out[0].PDQ), fmt.Sprint(must(firstOf(t, file)).PDQ); got == want {
		t.Error("the mask hides nothing")
	}
}

func firstOf(t *testing.T, file string) (fingerprinted, error) {
	t.Helper()
	out, code, stderr := judged(t, file)
	if code != 0 {
		return fingerprinted{}, errors.New(stderr)
	}
	return out[0], nil
}
