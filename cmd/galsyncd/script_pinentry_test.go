package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// fakePinentry is a pinentry program for the scripts: it answers each GETPIN with the next line of the file that
// $PINENTRY_ANSWERS names, and closes its window for the line "cancel". What it is told goes to $PINENTRY_LOG.
func fakePinentry() {
	text, err := os.ReadFile(os.Getenv("PINENTRY_ANSWERS"))
	if err != nil {
		fmt.Println("ERR 1 no answers")
		return
	}
	log, err := os.OpenFile(os.Getenv("PINENTRY_LOG"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Println("ERR 1 no log")
		return
	}
	defer log.Close()
	answers := strings.Split(string(text), "\n")
	fmt.Println("OK Pleased to meet you")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Fprintln(log, lines.Text())
		if lines.Text() == "GETPIN" {
			if answers[0] == "cancel" {
				fmt.Println("ERR 83886179 Operation cancelled <Pinentry>")
				return
			}
			fmt.Println("D " + answers[0])
			answers = answers[1:]
		}
		fmt.Println("OK")
	}
}
