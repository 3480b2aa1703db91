package config

import (
	"fmt"
	"strings"
)

// A KeyError says what is wrong with one setting, in one line. It never has the value of a secret.
type KeyError struct {
	// Key is the setting's name, such as "limits.max-payload". It is empty if what was given is no
	// setting at all.
	Key string

	// Source is where the value came from: "flag -limits.max-payload", "environment variable
	// CHAT_LIMITS_MAX_PAYLOAD", "chat.yaml:7". It is empty if nobody gave one.
	Source string

	Problem string // what is wrong: `"1MX" is no size`
	Want    string // what would be right: `bytes, such as 512KiB or 1MB`
	Err     error  // the cause, or nil
}

func (e *KeyError) Error() string {
	var text strings.Builder
	text.WriteString(e.Source)
	if e.Key != "" && !strings.HasPrefix(e.Source, "flag ") {
		if e.Source != "" {
			text.WriteString(": ")
		}
		text.WriteString(e.Key)
	}
	if text.Len() > 0 {
		text.WriteString(": ")
	}
	text.WriteString(e.Problem)
	if e.Want != "" {
		text.WriteString(": want " + e.Want)
	}
	return oneLine(text.String())
}

func (e *KeyError) Unwrap() error { return e.Err }

// A mistake is what is wrong with a text, before it is known whose it is.
type mistake struct{ problem, want string }

func (m *mistake) Error() string { return m.problem + ": want " + m.want }

func wrong(want, format string, args ...any) error {
	return &mistake{problem: fmt.Sprintf(format, args...), want: want}
}

// oneLine puts text on one line, without what a terminal would act on.
func oneLine(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(clean), " ")
}

// quote returns text for an error, shortened.
func quote(text string) string { return fmt.Sprintf("%.64q", text) }
