package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/belfry-io/belfry/bench/internal/page"
	"github.com/belfry-io/belfry/bench/internal/result"
)

const compareHelp = `Compares two results of bench -peers: what got better from A to B, what got
worse, and what is too close to tell.

  go run ./bench -compare A B
  go run ./bench -show A [-html file]    prints one result again, and its page

A and B are files, or the beginnings of commits' hashes: then the newest result
of that commit in ` + result.Dir + ` is meant. The folder is another with

  -results dir     before A: bench -compare -results dir A B
  -h               this help

It prints Markdown, and ends with 0 whatever differs; with 1 if a result cannot
be read.
`

const (
	compareCommand = "-compare"
	showCommand    = "-show"
)

// A keptConfig is what the flags of the commands about results that were kept say.
type keptConfig struct {
	Dir   string
	HTML  string // where the page is written; "" is nowhere
	Names []string
}

// parseKept reads the flags and names of a command that needs so many names.
func parseKept(command string, args []string, names int) (cfg keptConfig, err error) {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.Dir, "results", result.Dir, "")
	if command == showCommand {
		flags.StringVar(&cfg.HTML, "html", "", "")
	}
	for err = flags.Parse(args); err == nil && flags.NArg() > 0; err = flags.Parse(flags.Args()[1:]) {
		cfg.Names = append(cfg.Names, flags.Arg(0)) // flags may come behind it
	}
	if err == nil && len(cfg.Names) != names {
		err = fmt.Errorf("%s: got %d results, want %d: files, or the beginnings of commits", command, len(cfg.Names), names)
	}
	if err != nil {
		return keptConfig{}, usageError{err}
	}
	return cfg, nil
}

// load reads the results.
func (cfg keptConfig) load() (files []*result.File, err error) {
	for _, name := range cfg.Names {
		f, err := result.Load(cfg.Dir, name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// compareKept writes what differs between two results.
func compareKept(_ context.Context, args []string, stdout, _ io.Writer) error {
	cfg, err := parseKept(compareCommand, args[1:], 2)
	if err != nil {
		return explain(err, compareHelp, stdout)
	}
	files, err := cfg.load()
	if err != nil {
		return err
	}
	return page.Comparison(stdout, result.Compare(files[0], files[1]))
}

// showKept writes a result as bench -peers has written it.
func showKept(_ context.Context, args []string, stdout, _ io.Writer) error {
	cfg, err := parseKept(showCommand, args[1:], 1)
	if err != nil {
		return explain(err, compareHelp, stdout)
	}
	files, err := cfg.load()
	if err != nil {
		return err
	}
	if cfg.HTML != "" {
		if err := writePage(cfg.HTML, files[0]); err != nil {
			return err
		}
	}
	return page.Markdown(stdout, files[0])
}

// writePage writes a result's page of HTML into a file.
func writePage(path string, f *result.File) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(page.HTML(file, f), file.Close())
}
