package onvif

import (
	"cmp"
	"context"
	"net/url"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// service is one of the two Media services, with its calls.
type service struct {
	at               *url.URL
	profiles         call
	stream, snapshot func(string) call
}

// sources asks Media 2, which alone tells H.265, and then Media 1 for what that
// left out: some cameras list profiles in one of them only, or have no
// GetSnapshotUri in Media 2.
func (s *session) sources(ctx context.Context, media2, media1 *url.URL) ([]fleet.Source, error) {
	var m merge
	var first error
	for _, v := range []service{
		{media2, getProfiles2, getStreamURI2, getSnapshotURI2},
		{media1, getProfiles, getStreamURI, getSnapshotURI},
	} {
		if v.at == nil {
			continue
		}
		var a profilesAnswer
		err := s.do(ctx, v.at, v.profiles, &a)
		if near := s.near(v.at); near != nil && (isCause(err, fleet.CauseRefused) || isCause(err, fleet.CauseUnreachable)) {
			// A port that only means something behind the NAT.
			v.at, a = near, profilesAnswer{}
			err = s.do(ctx, v.at, v.profiles, &a)
		}
		if err == nil {
			err = s.addresses(ctx, v, a, &m)
		}
		first = cmp.Or(first, err)
		if fatal(err) {
			break
		}
	}
	if len(m.sources) == 0 {
		return nil, cmp.Or(first, error(fleet.Errorf(fleet.CauseProtocol, "the camera names no media profile with a picture")))
	}
	return m.sources, nil
}

// addresses asks for the stream and the snapshot of every profile, unless they
// are known. The error is the first refusal, for when nothing came.
func (s *session) addresses(ctx context.Context, v service, a profilesAnswer, m *merge) error {
	var first error
	noSnapshot := false
	for _, p := range a.Profiles[:min(len(a.Profiles), maxProfiles)] {
		src, enc := p.VideoSourceConfiguration, p.VideoEncoderConfiguration
		if src.SourceToken == "" {
			src = p.Configurations.VideoSource
		}
		if enc.Encoding == "" {
			enc = p.Configurations.VideoEncoder
		}
		if p.Token == "" || len(p.Token) > maxTokenBytes || len(src.SourceToken) > maxTokenBytes {
			continue
		}
		profile := fleet.Profile{
			Token: p.Token, Name: guard.CleanText(p.Name), Codec: codec(enc.Encoding),
			Width: int(enc.Resolution.Width), Height: int(enc.Resolution.Height),
		}
		if !noSnapshot && !m.has(p.Token, fleet.Snapshot) {
			e, err := s.address(ctx, v.at, v.snapshot(p.Token), fleet.Snapshot)
			if fatal(err) {
				return err
			}
			first = cmp.Or(first, err)
			// A camera without the call lacks it for every profile.
			if f, ok := err.(*Fault); ok && f.Missing() { //nolint:errorlint // do wraps no fault
				noSnapshot = true
			}
			profile.Endpoints = append(profile.Endpoints, e...)
		}
		if !m.has(p.Token, fleet.RTSP) {
			e, err := s.address(ctx, v.at, v.stream(p.Token), fleet.RTSP)
			if fatal(err) {
				return err
			}
			first = cmp.Or(first, err)
			profile.Endpoints = append(profile.Endpoints, e...)
		}
		m.add(src.SourceToken, guard.CleanText(src.Name), profile)
	}
	return first
}

// address asks for one address and returns it as an endpoint on the host that
// was asked, or nothing for an address of another kind.
func (s *session) address(ctx context.Context, at *url.URL, op call, p fleet.Protocol) ([]fleet.Endpoint, error) {
	var a uriAnswer
	if err := s.do(ctx, at, op, &a); err != nil {
		return nil, err
	}
	u := endpoint(cmp.Or(strings.TrimSpace(a.MediaURI.URI), strings.TrimSpace(a.URI)), s.device, p)
	if u == "" {
		return nil, nil
	}
	return []fleet.Endpoint{{Protocol: p, URL: u}}, nil
}

// codec is the encoding's name in this house, or "" for one that is not read.
func codec(encoding string) fleet.Codec {
	switch strings.ToUpper(strings.TrimSpace(encoding)) {
	case "JPEG", "MJPEG":
		return fleet.JPEG
	case "H264":
		return fleet.H264
	case "H265", "HEVC":
		return fleet.H265
	}
	return ""
}
