#!/usr/bin/env perl

# Handshakes of WebSocket, refused for every reason there is, begun behind a
# response that is not read, cut at every byte; and sessions whose frames are
# right, wrong, or missing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Fanout::Fuzz;
use Fanout::Nginx;

my $fuzz = Fanout::Fuzz->new;


# A field of it may be missing, or be another: then it is refused.

sub handshake {
    my %h = (
        'Host'                  => 'x',
        'Upgrade'               => 'websocket',
        'Connection'            => 'Upgrade',
        'Sec-WebSocket-Version' => '13',
        'Sec-WebSocket-Key'     => 'dGhlIHNhbXBsZSBub25jZQ==',
    );

    $h{Origin} = $fuzz->one_of('http://x', 'https://example.com', 'null')
        if $fuzz->chance(0.3);
    $h{'Sec-WebSocket-Protocol'} = $fuzz->one_of('fanout.v1', 'other',
        'fanout.v1, fanout.token.x', '') if $fuzz->chance(0.3);
    $h{'Sec-WebSocket-Extensions'} = $fuzz->one_of('permessage-deflate',
        'permessage-deflate; server_max_window_bits=9',
        'permessage-deflate; server_max_window_bits=8, x', ';;,=')
        if $fuzz->chance(0.3);

    if ($fuzz->chance(0.3)) {
        my $name = $fuzz->one_of(sort keys %h);
        my $value = $fuzz->one_of(undef, '', 'x', '8', 'x' x 500);

        defined $value ? ($h{$name} = $value) : delete $h{$name};
    }

    $h{'Content-Length'} = 5 if $fuzz->chance(0.05);

    my $path = $fuzz->path;

    $path =~ s/poll=1/x=1/g;

    return $fuzz->one_of(('GET') x 12, 'POST', 'HEAD') . " $path HTTP/1."
           . $fuzz->one_of((1) x 12, 0) . "\r\n"
           . join('', map { "$_: $h{$_}\r\n" } sort keys %h) . "\r\n";
}


sub frame {
    my ($first, $data) = @_;

    my $n = length $data;
    my $masked = $fuzz->chance(0.98) ? 128 : 0;
    my $mask = pack 'N', $fuzz->below(1 << 32);

    my $head = chr($first) . ($n < 126 ? chr($n | $masked)
             : $n < 65_536 ? pack('Cn', 126 | $masked, $n)
             : pack('CNN', 127 | $masked, 0, $n));

    return $head . $data if !$masked;

    my $all = substr $mask x ($n / 4 + 1), 0, $n;

    return $head . $mask . ($data ^ $all);
}


sub frames {
    my $bytes = '';

    for (0 .. $fuzz->below(4)) {
        $bytes .= $fuzz->one_of(
            (sub { frame(0x81, $fuzz->commands) }) x 12,
            sub { frame(0x01, '{"ping":') . frame(0x89, 'x')
                  . frame(0x80, '{}}') },
            sub { frame(0x89, 'p' x $fuzz->below(130)) },
            sub { frame(0x8a, 'r') },
            sub { frame(0x88, pack 'n', $fuzz->one_of(1000, 1001, 4000, 1)) },
            sub { frame(0x88, '') },
            sub { frame(0x82, $fuzz->bytes(10)) },
            sub { frame(0xc1, $fuzz->bytes($fuzz->below(50))) },
            sub { frame(0x81, 'x' x 20_000) },
            sub { frame($fuzz->below(256), $fuzz->bytes($fuzz->below(20))) },
            sub { $fuzz->bytes(8) },
        )->();
    }

    return $bytes;
}


sub any { my $s = $fuzz->sockets; return $s->[rand @$s] }


# behind responses that fill the socket

sub behind {
    return "GET /files/long HTTP/1.1\r\nHost: x\r\n\r\n"
           x $fuzz->one_of(1, 40);
}


my @acts = (
    (sub {
        my $s = $fuzz->connect('PORT') or return;
        $fuzz->write($s, ($fuzz->chance(0.1) ? behind() : '') . handshake()
                         . ($fuzz->chance(0.5) ? frames() : ''));
    }) x 5,
    (sub { my $s = any(); $fuzz->write($s, frames()) if $s }) x 5,
    (sub { my $s = any(); $fuzz->read_some($s) if $s }) x 5,
    (sub { $fuzz->publish }) x 2,
    sub { $fuzz->pause },
    sub { $fuzz->close_some(1 + $fuzz->below(3)) },
    sub {
        my $s = $fuzz->connect('PORT') or return;
        my $bytes = handshake() . frames();
        $fuzz->write($s, substr $bytes, 0, $fuzz->below(length $bytes));
        $fuzz->close_some(1) if $fuzz->chance(0.5);
    },
);

$fuzz->run(sub { $fuzz->one_of(@acts)->() for 1 .. 20 });

done_testing;
