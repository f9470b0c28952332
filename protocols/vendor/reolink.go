package vendor

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// reolinkAnswer is the answer to one command of Reolink's api.cgi: a list of one.
type reolinkAnswer struct {
	Code  int `json:"code"`
	Value struct {
		Token   struct{ Name string }
		DevInfo struct {
			Model, Name, Serial, FirmVer string
			ChannelNum                   int `json:"channelNum"`
		}
	} `json:"value"`
	Error struct {
		Detail  string `json:"detail"`
		RspCode int    `json:"rspCode"`
	} `json:"error"`
}

// reolinkRefused is the rspCode of a wrong user or password.
const reolinkRefused = -7

// reolink asks a Reolink device who it is: Login, GetDevInfo, Logout. The
// password stands in a body, so it is sent over TLS alone; the token that stands
// for it in the addresses lasts until the Logout, and no error shows it.
func reolink(ctx context.Context, s *session) (id identity, err error) {
	at := *s.at
	if at.Scheme != "https" {
		// The page was found on plain http; the calls are on the usual port of TLS.
		at = url.URL{Scheme: "https", Host: net.JoinHostPort(s.at.Hostname(), "443")}
	}
	known := s.c.guard.Candidates(s.login)
	if len(known) == 0 {
		return id, fleet.Errorf(fleet.CauseNotFound, "its calls need a login, and none is known")
	}
	budget, device, with := s.c.guard.Budget(), s.login.Device, known[0]
	leave, err := budget.Enter(ctx, device, with)
	if err != nil {
		return id, err
	}
	defer leave()
	in, err := reolinkCall(ctx, s, at, "Login", "", map[string]any{"User": map[string]string{
		"Version": "0", "userName": with.User, "password": with.Password.Reveal(),
	}})
	switch {
	case err != nil:
		return id, err
	case in.Error.RspCode == reolinkRefused:
		budget.Refused(device, with)
		return id, fleet.Errorf(fleet.CauseUnauthorized, "the camera refused the login of user %q: correct its credentials", with.User)
	case in.Code != 0 || in.Value.Token.Name == "":
		return id, unreadable("token: " + guard.CleanText(in.Error.Detail))
	}
	budget.Accepted(device, with)
	token := in.Value.Token.Name
	defer func() {
		// A device has few sessions, and each lasts an hour. It ends even when ctx
		// has; who asked is not kept waiting long.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutWait)
		defer cancel()
		_, _ = reolinkCall(last, s, at, "Logout", token, map[string]any{}) // it would end by itself
	}()
	info, err := reolinkCall(ctx, s, at, "GetDevInfo", token, map[string]any{})
	if err != nil {
		return id, err
	}
	v := info.Value.DevInfo
	if info.Code != 0 || v.Model == "" {
		return id, unreadable("DevInfo")
	}
	id.model, id.name, id.serial, id.firmware = v.Model, v.Name, v.Serial, v.FirmVer
	if v.ChannelNum > 1 {
		for n := range min(v.ChannelNum, maxChannels) {
			id.channels = append(id.channels, channel{number: n + 1})
		}
	}
	return id, nil
}

// reolinkCall makes one call.
func reolinkCall(ctx context.Context, s *session, at url.URL, cmd, token string, param map[string]any) (reolinkAnswer, error) {
	body, err := json.Marshal([]map[string]any{{"cmd": cmd, "action": 0, "param": param}})
	if err != nil {
		return reolinkAnswer{}, fleet.Errorf(fleet.CauseInternal, "write %s: %w", cmd, err)
	}
	at.Path, at.RawQuery = "/cgi-bin/api.cgi", "cmd="+cmd
	if token != "" {
		at.RawQuery += "&token=" + url.QueryEscape(token)
	}
	res, err := s.send(ctx, guard.Login{Device: s.login.Device}, guard.Request{
		Method: http.MethodPost, URL: at.String(), Header: http.Header{"Content-Type": {"application/json"}}, Body: body, MaxBytes: maxAnswerBytes,
	})
	if err != nil {
		// Its text names the address, and that the token.
		return reolinkAnswer{}, fleet.Errorf(causeOf(err), "%s did not succeed at %s", cmd, at.Host)
	}
	return readReolink(res.Body)
}

func readReolink(body []byte) (reolinkAnswer, error) {
	var list []reolinkAnswer
	if err := json.Unmarshal(body, &list); err != nil || len(list) != 1 {
		return reolinkAnswer{}, unreadable("answer to a command")
	}
	return list[0], nil
}
