package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestDevReadsH264WithoutFFmpeg: the town has a camera that offers H.264 and
// nothing else, and its captures have fingerprints where no FFmpeg is installed.
func TestDevReadsH264WithoutFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	url, stop := startDev(t, "--data", dir)
	base := url[:strings.Index(url, "/login")]
	type capture struct {
		Camera, Outcome, Detail string
		Cause                   fleet.Cause
		Codec                   fleet.Codec
		Protocol                fleet.Protocol
		Fingerprint             *struct {
			PDQ        string `json:"pdq"`
			PDQQuality int    `json:"pdq_quality"`
		}
	}
	late := time.After(5 * time.Minute) // a busy machine draws the town's pictures slowly
	for {
		var out, errs bytes.Buffer
		var list []capture
		if code := run(t.Context(), []string{"captures", "ls", "--limit", "1000", "-o", "json", "--server", base, "--token-file", filepath.Join(dir, "centre", "admin.token")}, &out, &errs); code == 0 {
			if err := json.Unmarshal(out.Bytes(), &list); err != nil {
				t.Fatalf("%v: %s", err, &out)
			}
		}
		for _, c := range list {
			// What a busy machine is too slow for fails, too; what cannot be read
			// fails with one of these.
			if c.Cause == fleet.CauseUnsupportedCodec || c.Cause == fleet.CauseCorrupt || c.Cause == fleet.CauseProtocol || c.Cause == fleet.CauseInternal {
				t.Fatalf("a capture failed: %+v", c)
			}
			if c.Codec != fleet.H264 {
				continue
			}
			if c.Protocol != fleet.RTSP || c.Fingerprint == nil || c.Fingerprint.PDQQuality == 0 || len(c.Fingerprint.PDQ) != 64 {
				t.Errorf("%+v, %+v", c, c.Fingerprint)
			}
			stop()
			return
		}
		select {
		case <-late:
			t.Fatalf("no H.264 frame was captured: %d captures; %s", len(list), &errs)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
