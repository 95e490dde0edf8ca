#!/usr/bin/env perl

# Polls, event streams, POSTs and files over HTTP/1.1 from clients that go in
# the middle, send the next request before the first is answered, come back as
# another, lie about their length and meet every limit.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fanout::Fuzz;
use Fanout::Nginx;

my $fuzz = Fanout::Fuzz->new;


sub head {
    my ($method, $path) = @_;

    my @h = ("$method $path HTTP/1." . $fuzz->one_of(1, 1, 1, 0), 'Host: x');

    push @h, 'Fanout-Resume: ' . $fuzz->token if $fuzz->chance(0.3);
    push @h, 'X-Requested-With: x' if $fuzz->chance(0.8);
    push @h, 'Accept: text/event-stream' if $fuzz->chance(0.2);
    push @h, 'Connection: close' if $fuzz->chance(0.2);
    push @h, 'Origin: ' . $fuzz->one_of('http://x', 'https://example.com',
                                        'null', 'x' x 100)
        if $fuzz->chance(0.3);
    push @h, 'Fanout-Client: c_' . '0' x 16 if $fuzz->chance(0.05);

    return join "\r\n", @h;
}


sub get {
    return head($fuzz->one_of(qw( GET GET GET GET HEAD OPTIONS )),
                $fuzz->path(@_)) . "\r\n\r\n";
}


sub poll { get('poll=1', 'session=1') }


sub post {
    my $body = $fuzz->commands;
    my $type = $fuzz->one_of(('application/json') x 9, 'text/plain');
    my $head = head('POST', $fuzz->path) . "\r\nContent-Type: $type\r\n";

    if ($fuzz->chance(0.2)) {
        my $chunks = '';

        while (length $body) {
            my $part = substr $body, 0, 1 + $fuzz->below(length $body), '';
            $chunks .= sprintf "%x\r\n%s\r\n", length $part, $part;
        }

        return $head . "Transfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n";
    }

    return $head . 'Content-Length: '
           . (length($body) + $fuzz->one_of((0) x 9, -1, 3, 100_000))
           . "\r\n\r\n$body";
}


sub file {
    my $path = $fuzz->one_of(qw( /files/ /cached/ ))
               . $fuzz->one_of(qw( short long page.html none ));
    my $h = head($fuzz->one_of(qw( GET GET HEAD POST )), $path);

    $h .= "\r\nRange: bytes=" . join ',', map { range() } 0 .. $fuzz->below(9)
        if $fuzz->chance(0.7);
    $h .= "\r\nIf-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT"
        if $fuzz->chance(0.2);

    return "$h\r\n\r\n";
}


sub range {
    my $at = $fuzz->below(1200);

    return $fuzz->one_of("$at-", "-$at", $at . '-' . ($at + 2), '0-2',
                         '200000-', '5-1');
}


# several at once are one behind the other

sub requests {
    return join '', map { $fuzz->one_of(\&poll, \&poll, \&get, \&post, \&post,
                                        \&file)->() }
                    0 .. $fuzz->one_of(0, 0, 0, 1, 3);
}


sub any { my $s = $fuzz->sockets; return $s->[rand @$s] }

my @acts = (
    (sub {
        my $s = $fuzz->connect('PORT') or return;
        $fuzz->write($s, requests());
    }) x 4,
    (sub { my $s = any(); $fuzz->write($s, requests()) if $s }) x 2,
    (sub { my $s = any(); $fuzz->read_some($s) if $s }) x 4,
    (sub { $fuzz->publish }) x 2,
    (sub { $fuzz->join_and_post(1 + $fuzz->below(12)) }) x 2,
    sub { $fuzz->pause },
    sub { $fuzz->close_some(1 + $fuzz->below(3)) },
    sub {
        my $s = $fuzz->connect('PORT') or return;
        my $bytes = requests();
        $fuzz->write($s, substr $bytes, 0, $fuzz->below(length $bytes));
        $fuzz->close_some(1) if $fuzz->chance(0.5);
    },
);

$fuzz->run(sub { $fuzz->one_of(@acts)->() for 1 .. 20 });

done_testing;
