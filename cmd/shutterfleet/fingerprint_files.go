package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// expand replaces folders by the files in them, in the order of their names, and
// patterns that no shell has replaced by what they match. What is nothing of the
// kind stays, to be told of in its place.
func expand(args []string) []string {
	var files []string
	for _, arg := range args {
		if arg == "-" {
			files = append(files, arg)
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err == nil && info.IsDir():
			files = append(files, folder(arg)...)
		case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(arg, "*?["):
			matches, err := filepath.Glob(arg)
			if err != nil || len(matches) == 0 {
				matches = []string{arg}
			}
			files = append(files, matches...)
		default:
			files = append(files, arg)
		}
	}
	return files
}

// folder returns the files in a folder, but hidden ones and folders: or its own
// name, if there are none.
func folder(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{dir}
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		files = append(files, filepath.Join(dir, e.Name()))
	}
	if len(files) == 0 {
		return []string{dir}
	}
	return files
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// loadPicture reads as much of a file as its first picture takes, at most
// maxFingerprintFile. A read that does not end, of a terminal or a pipe, is left
// alone when ctx ends: nothing else can be done about it.
func loadPicture(ctx context.Context, file string, stdin io.Reader) ([]byte, error) {
	type loaded struct {
		data []byte
		err  error
	}
	done := make(chan loaded, 1) // so that one that was left alone can end
	go func() {
		r := stdin
		if file != "-" {
			f, err := os.Open(file)
			if err != nil {
				done <- loaded{err: err}
				return
			}
			defer f.Close()
			r = f
		}
		data, err := readPicture(r)
		done <- loaded{data, err}
	}()
	select {
	case l := <-done:
		return l.data, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// firstLook is how much of a file is read before it is looked at.
const firstLook = 1 << 20

// readPicture reads all of r, or of an Annex B stream as much as its first key
// picture takes: a recording may be long, and a camera's stream has no end.
func readPicture(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	last := 0
	for look := firstLook; ; look *= 2 {
		want := min(look, maxFingerprintFile+1) - b.Len()
		_, err := io.CopyN(&b, r, int64(want))
		if errors.Is(err, io.EOF) {
			return b.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		if b.Len() > maxFingerprintFile {
			return nil, fleet.Errorf(fleet.CauseTooLarge, "the file is larger than %d MB: cut a piece out of it first", maxFingerprintFile>>20)
		}
		if c, ok := codec.Sniff(b.Bytes()); ok && (c == fleet.H264 || c == fleet.H265) {
			// A picture that is no longer with twice the data was there.
			if key, err := codec.KeyFrame(c, b.Bytes()); err == nil && len(key) == last {
				return b.Bytes(), nil
			} else if err == nil {
				last = len(key)
			}
		}
	}
}

// pictureNames are what files are called to people.
var pictureNames = map[fleet.Codec]string{codec.MP4: "an MP4 file", fleet.H265: "H.265"}

// frameOf finds the one frame of a file that is read.
func frameOf(data []byte) (fleet.Frame, error) {
	c, ok := codec.Sniff(data)
	switch {
	case !ok && len(data) == 0:
		return fleet.Frame{}, codec.Corrupt("the file is empty")
	case !ok:
		return fleet.Frame{}, codec.Unsupported("%s", unknownPicture(data))
	case c == codec.MP4 && strings.Contains("heic heix hevc mif1 msf1 avif avis", string(data[8:12])):
		return fleet.Frame{}, codec.Unsupported("a HEIF or AVIF picture is not read: convert it to JPEG or PNG, for example with heif-convert")
	case c == fleet.H264 || c == fleet.H265:
		var err error
		if data, err = codec.KeyFrame(c, data); err != nil {
			return fleet.Frame{}, err
		}
	}
	return fleet.Frame{Data: data, Codec: c}, nil
}

// unknownPicture says what is wrong with data that is no picture that is read.
func unknownPicture(data []byte) string {
	const toPNG, toH264 = "convert it to PNG, for example with `ffmpeg -i FILE OUT.png`", "take its video out with `ffmpeg -i FILE -c copy -an -f h264 OUT.h264`"
	switch {
	case bytes.HasPrefix(data, []byte("GIF8")):
		return "a GIF is not read: " + toPNG
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "a WebP picture is not read: " + toPNG
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "AVI ":
		return "an AVI file is not read: " + toH264
	case bytes.HasPrefix(data, []byte{0x1A, 0x45, 0xDF, 0xA3}):
		return "a Matroska or WebM file is not read: " + toH264
	case len(data) > 188 && data[0] == 0x47 && data[188] == 0x47:
		return "an MPEG transport stream is not read: " + toH264
	case lengthPrefixed(data):
		return "this looks like H.264 with lengths in place of start codes, as MP4 files hold it: give the MP4 file itself, or take its video out with " +
			"`ffmpeg -i FILE.mp4 -c copy -bsf:v h264_mp4toannexb -f h264 OUT.h264`"
	}
	return "no picture that is known: want JPEG, PNG, PGM, an H.264 or H.265 stream (Annex B), or MP4"
}

// lengthPrefixed says whether data begins with two NAL units of H.264, or one that
// is all of it, each behind its length in four bytes: ISO/IEC 14496-15.
func lengthPrefixed(data []byte) bool {
	units := 0
	for units < 2 && len(data) > 4 {
		n := int(binary.BigEndian.Uint32(data))
		if kind := data[4] & 0x1F; n == 0 || n > len(data)-4 || data[4]&0x80 != 0 || kind == 0 || kind > 12 {
			return false
		}
		data = data[4+n:]
		units++
	}
	return units == 2 || units == 1 && len(data) == 0
}

// advised says whether an error about a picture tells what to do.
func advised(text string) bool {
	return slices.ContainsFunc([]string{"record it", "install", "convert", "take its video out", "want JPEG", "first"}, func(s string) bool { return strings.Contains(text, s) })
}

// unreadable words an error about a file, whose name stands before it: what is
// wrong and what to do.
func unreadable(file string, err error) string {
	text := err.Error()
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok && !advised(text) {
		switch ce.Cause {
		case fleet.CauseCorrupt:
			text += ": copy or record it again"
		case fleet.CauseTooLarge:
			text += ": scale it down first, for example with `ffmpeg -i FILE -vf scale=4096:-2 OUT.png`"
		case fleet.CauseUnsupportedCodec:
			text += ": convert it, for example with `ffmpeg -i FILE OUT.png`"
		}
		return text
	}
	switch pe, _ := errors.AsType[*fs.PathError](err); {
	case pe == nil || pe.Path != file:
		return text
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(file, "*?["):
		return "no file matches this: check the folder and the pattern"
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file: check its name"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not read it: change its permissions, for example with `chmod a+r`, or run this as its owner"
	case isFolder(file):
		return "a folder without files: name pictures, or a folder that has some"
	}
	return strings.TrimPrefix(text, file+": ")
}

func isFolder(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.IsDir()
}

// sizeOf is how much memory a file's data may take.
func sizeOf(file string) int64 {
	if info, err := os.Stat(file); file != "-" && err == nil && info.Mode().IsRegular() {
		return min(2*info.Size()+firstLook, 2*maxFingerprintFile)
	}
	return maxFingerprintFile // a pipe: nobody knows
}

// told is what is printed of a file that could not be read.
func told(file string, res *PictureReading, err error) fingerprinted {
	out := fingerprinted{File: file, PictureReading: res}
	if err == nil {
		return out
	}
	out.Error = unreadable(file, err)
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		out.Cause = ce.Cause
	}
	if res != nil { // damaged, and read as far as it goes
		out.Error = err.Error()
	}
	return out
}
