package wsserver

import (
	"net/http"
	"time"

	"github.com/rs/cors"
)

// CORS lets pages of other origins use a server, by the rules of cross-origin resource sharing.
// Those origins may also open WebSockets, which the rules do not cover.
type CORS struct {
	// Origins are the origins of the pages, such as "https://app.example". One "*" in an origin
	// stands for any characters, and "*" alone for any origin.
	Origins []string

	// Credentials lets these pages send cookies and the like, as clients do with the option
	// withCredentials. It is an error with the origin "*", because then any page could act for the
	// user that looks at it.
	Credentials bool

	// Headers are the request headers that pages may set. nil means any.
	Headers []string

	// MaxAge is how long browsers may remember the answer. Zero leaves that to them.
	MaxAge time.Duration
}

// handler applies c to requests; nil if there is nothing to apply.
func (c *CORS) handler() *cors.Cors {
	if c == nil || len(c.Origins) == 0 {
		return nil
	}
	headers := c.Headers
	if headers == nil {
		headers = []string{"*"}
	}
	return cors.New(cors.Options{
		AllowedOrigins:   c.Origins,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost},
		AllowedHeaders:   headers,
		AllowCredentials: c.Credentials,
		MaxAge:           int(c.MaxAge / time.Second),
	})
}
