package upnp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

var errTooLarge = errors.New("the description is too large")

// describe fetches and reads one description. The location was checked
// against its sender; redirects are not followed.
func (f *Finder) describe(ctx context.Context, location string) (Description, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	t := &http.Transport{
		DialContext:            (&net.Dialer{}).DialContext,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxDescriptionBytes,
	}
	defer t.CloseIdleConnections()
	c := http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return Description{}, err
	}
	res, err := c.Do(req)
	if err != nil {
		return Description{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Description{}, fmt.Errorf("description answers %s", res.Status)
	}
	doc, err := io.ReadAll(io.LimitReader(res.Body, maxDescriptionBytes+1))
	if err != nil {
		return Description{}, err
	}
	if len(doc) > maxDescriptionBytes {
		return Description{}, errTooLarge
	}
	return ParseDescription(doc)
}
