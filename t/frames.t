#!/usr/bin/env perl

# Frames (RFC 6455, sections 5, 6 and 8), plain and over TLS. If this fails,
# messages arrive cut, glued together or as another type, text that is none
# gets through to browsers, which then drop the connection, or a header of
# twenty bytes takes gigabytes of a worker.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Socket;


my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=10;
END
    server => <<'END',
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
            fanout_message_size 200k;
            fanout_buffer 1m;
        }
        location /small {
            fanout app;
            fanout_dialect raw;
            fanout_permit all *;
            fanout_message_size 1k;
        }
        location /native { fanout app; fanout_permit all *; }
        # those who ask stay at their worker
        keepalive_requests 1000000;
        location = /sync { return 204; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $channel = 0;
my %tls;

sub raw { $nginx->ws(path => '/raw?channel=c' . ++$channel, %tls, @_) }
sub frame { Fanout::WS->frame(@_) }


# the close code after these bytes; nothing may come before it

sub code_after {
    my ($bytes, %o) = @_;

    my $ws = raw(%o);

    $ws->send_bytes($bytes);

    my $message = $ws->recv_message;
    my $code    = $message ? "message \"$message->{payload}\"" : $ws->close_code;

    if (!$message) {
        $code = 'no end' if !wait_for(sub { $ws->fill(0.05); $ws->eof }, 5);
    }

    $ws->disconnect;

    return defined $code ? $code : $ws->eof ? 'lost' : 'nothing';
}


# errors: 1002, and the server ends the connection without waiting

sub errors {
    my $mask = pack 'N', 0x12345678;

    is(code_after(frame(1, 'x', mask => 0)), 1002, 'a frame that is not masked');
    is(code_after(frame(9, '', mask => 0)), 1002, 'nor a ping');
    is(code_after(frame(8, '', mask => 0)), 1002, 'nor a close');
    is(code_after("\x81\x00"), 1002, 'seen by its second byte');

    for my $opcode (0, 1, 2, 8, 9, 10) {
        is(code_after(frame($opcode, '', rsv => $_)), 1002,
           "opcode $opcode with RSV bits $_") for 1, 2, 4, 7;
    }

    for my $opcode (3 .. 7, 11 .. 15) {
        is(code_after(frame($opcode, 'x')), 1002, "reserved opcode $opcode");
    }

    is(code_after(chr(0x83)), 1002, 'seen by its first byte');

    for my $opcode (8, 9, 10) {
        is(code_after(frame($opcode, '', fin => 0)), 1002,
           "control frame $opcode in fragments");
        is(code_after(frame($opcode, 'x' x 126)), 1002,
           "control frame $opcode of 126 bytes");
        is(code_after(frame($opcode, 'x' x 5, size => 16)), 1002,
           "control frame $opcode with a long form of its length");
        is(code_after(chr(0x80 | $opcode) . "\xff" . pack('Q>', 2**40)), 1002,
           "control frame $opcode of a terabyte");
    }

    is(code_after(frame(1, 'x' x $_->[0], size => $_->[1])), 1002,
       "$_->[0] bytes, their length in $_->[1] bits")
        for [ 0, 16 ], [ 125, 16 ], [ 0, 64 ], [ 125, 64 ], [ 126, 64 ],
            [ 65535, 64 ];

    is(code_after("\x81\xff\x80" . "\0" x 7), 1002, 'a length of 2^63');
    is(code_after("\x81\xff" . "\xff" x 8), 1002, 'a length of 2^64 - 1');

    is(code_after(frame(0, 'x')), 1002, 'a continuation of nothing');
    is(code_after(frame(0, 'x', fin => 0)), 1002, 'that goes on');
    is(code_after(frame(1, 'a', fin => 0) . frame(1, 'b')), 1002,
       'a message inside a message');
    is(code_after(frame(2, 'a', fin => 0) . frame(2, 'b', fin => 0)), 1002,
       'both in fragments');
}


subtest 'errors' => \&errors;


subtest 'a good frame before an error counts' => sub {
    my $ws = raw();

    $ws->send_bytes(frame(1, 'good') . frame(3, 'bad') . frame(1, 'late'));

    is($ws->recv_text, 'good', 'the message');
    is($ws->wait_close, 1002, 'then the error');
    ok(wait_for(sub { $ws->fill(0.05); $ws->eof }), 'then the end');
    is(${ $ws->buffer }, '', 'and nothing more');
};


subtest 'lengths' => sub {
    my ($ws, $other) = (raw(), undef);
    $other = $nginx->ws(path => "/raw?channel=c$channel", worker =>
                        $nginx->worker_of($ws) == $one ? $two : $one);

    for my $n (0, 1, 124, 125, 126, 127, 128, 255, 256, 1000, 4095, 4096,
               32767, 32768, 65534, 65535, 65536, 65537, 204800)
    {
        my $data = join '', map { chr 33 + $_ % 90 } 1 .. ($n < 999 ? $n : 999);
        $data = substr $data x (1 + $n / 999), 0, $n;

        $ws->send_text($data);

        for my $in ($ws, $other) {
            my $head = wait_for(sub { $in->fill(0.05);
                                      length ${ $in->buffer } >= 2 })
                       ? ${ $in->buffer } : "\0\0";
            my $want = $n < 126 ? chr $n : $n < 65536 ? "\x7e" . pack('n', $n)
                                         : "\x7f" . pack('Q>', $n);
            my $f = $in->recv_frame;

            ok($f && $f->{payload} eq $data, "$n bytes");
            is(substr($head, 0, 1 + length $want), "\x81$want",
               "$n: one frame, not masked, the length in its shortest form");
        }
    }
};


subtest 'masks' => sub {
    my $ws = raw();

    for my $mask ("\0\0\0\0", "\xff\xff\xff\xff", "\0\1\2\3", "\x80\0\0\0") {
        for my $n (0 .. 9, 64, 129) {
            my $data = substr 'The quick brown fox ' x 10, 0, $n;

            $ws->send_text($data, mask => $mask);
            is($ws->recv_text, $data, unpack('H*', $mask) . ", $n bytes");
        }
    }
};


subtest 'fragments' => sub {
    my $ws = raw();

    my @whole = (
        [ 'in two', [ 1, 'a', 0 ], [ 0, 'b', 1 ] ],
        [ 'in many', [ 1, 'a', 0 ], (map { [ 0, 'b', 0 ] } 1 .. 500),
          [ 0, 'c', 1 ] ],
        [ 'an empty first one', [ 1, '', 0 ], [ 0, 'b', 1 ] ],
        [ 'an empty last one', [ 1, 'a', 0 ], [ 0, '', 1 ] ],
        [ 'all of them empty', [ 1, '', 0 ], [ 0, '', 0 ], [ 0, '', 1 ] ],
        [ 'binary', [ 2, "\xff", 0 ], [ 0, "\xfe", 0 ], [ 0, "\0", 1 ] ],
        [ 'large', [ 1, 'a' x 70_000, 0 ], [ 0, 'b' x 70_000, 1 ] ],
    );

    for (@whole) {
        my ($name, @frames) = @$_;

        $ws->send_bytes(join '', map { frame($_->[0], $_->[1], fin => $_->[2]) }
                                     @frames);

        my $m = $ws->recv_frame;

        is($m->{opcode}, $frames[0][0], "$name: type");
        ok($m->{fin}, "$name: one frame");
        ok($m->{payload} eq join('', map { $_->[1] } @frames), "$name: data");
    }

    $ws->send_bytes(frame(1, 'one', fin => 0) . frame(9, 'ping')
                    . frame(0, ' two', fin => 0));

    my $f = $ws->recv_frame;
    is("$f->{opcode} $f->{payload}", '10 ping',
       'a ping between is answered before the message ends');

    $ws->send_bytes(frame(10, 'pong') . frame(0, '', fin => 0) . frame(9, '')
                    . frame(0, ' three'));
    is($ws->recv_frame->{opcode}, 10, 'another');
    is($ws->recv_frame->{payload}, 'one two three', 'the message is whole');

    $ws->send_bytes(frame(1, 'never', fin => 0) . frame(8, pack 'n', 1000));
    is($ws->wait_close, 1000, 'a close between ends it');
    ok(wait_for(sub { $ws->fill(0.05); $ws->eof }), 'at once');

    is(code_after(frame(1, '', fin => 0) . frame(0, '', fin => 0) x 5000), 1009,
       'fragments without an end');
};


# The other connection goes to the same worker, which handles events in their
# order: its answer means that what was written before has been read.

sub barrier {
    my ($http) = @_;

    return sub { $http->get('/sync')->{status} == 204 or die 'no answer' };
}


sub stream {
    return frame(1, "t\xc3\xa9xt") . frame(9, 'pi') . frame(1, "a\xe2", fin => 0)
         . frame(9, '') . frame(0, "\x82", fin => 0) . frame(0, '', fin => 0)
         . frame(0, "\xacz") . frame(2, "\0\xff" x 64) . frame(1, '')
         . frame(10, 'po') . frame(8, pack('n', 4321) . 'bye');
}


sub as_expected {
    my ($ws, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my @got;

    while (my $f = $ws->recv_frame) {
        push @got, "$f->{opcode}:$f->{payload}";
        last if $f->{opcode} == 8;
    }

    # pongs may overtake what goes through the zone

    my @data  = grep { !/^10:/ } @got;
    my @pongs = grep { /^10:/ } @got;

    my $ok = "@data" eq join(' ', "1:t\xc3\xa9xt", "1:a\xe2\x82\xacz",
                             '2:' . "\0\xff" x 64, '1:',
                             '8:' . pack 'n', 4321)
             && "@pongs" eq '10:pi 10:';

    ok($ok, $name) or diag(join ' ', map { unpack 'H*', $_ } @got);

    return $ok;
}


sub split_everywhere {
    my $n = length stream();

    for my $worker ($one, $two) {
        my $sync = barrier($nginx->http(worker => $worker));
        my $bad  = 0;
        my $step = %tls || $worker eq $two ? 7 : 1;

        for (my $at = 1; $at < $n; $at += $step) {
            my $ws = raw(worker => $worker);
            my $bytes = stream();

            $ws->send_bytes(substr $bytes, 0, $at);
            $sync->();
            $ws->send_bytes(substr $bytes, $at);

            as_expected($ws, "split at byte $at") or last;
            $ws->cut;
        }

        my $ws = raw(worker => $worker);

        for my $byte (split //, stream()) {
            $ws->send_bytes($byte);
            $sync->();
        }

        as_expected($ws, 'each byte alone');
    }
}


subtest 'split at every byte' => \&split_everywhere;


# what is text and what is not: the code at the first byte that can't be right

my @texts = (
    '', 'ascii', "\0", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
    "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xef\xbb\xbfbom",
    "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xe2\x80\xa8\xe2\x80\xa9",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
);

my @none = (
    "\x80", "\xbf", "\xc0", "\xc1\xbf", "\xc0\x80", "\xe0\x80", "\xe0\x9f",
    "\xed\xa0", "\xed\xbf", "\xf0\x80", "\xf0\x8f", "\xf4\x90", "\xf5", "\xf8",
    "\xfe", "\xff", "ok\xc3\x28", "ok\xe2\x82\x41", "ok\xf0\x9f\x98\x41",
);

sub texts {
    my $ws = raw();

    for my $text (@texts) {
        my $hex = unpack 'H*', $text;

        $ws->send_text($text);
        ok($ws->recv_text eq $text, "text $hex");

        my @bytes = split //, $text;

        next if @bytes < 2;

        my $i = 0;
        $ws->send_bytes(join '', map {
            frame($i++ ? 0 : 1, $_, fin => $i == @bytes)
        } @bytes);
        ok($ws->recv_text eq $text, "$hex, a fragment for each byte");
    }

    for my $bytes (@none) {
        my $hex = unpack 'H*', $bytes;

        is(code_after(frame(1, $bytes, fin => 0)), 1007,
           "$hex: refused before the message ends");
        is(code_after(frame(1, 'first', fin => 0)
                      . frame(0, $bytes . 'x' x 9000, length => 100_000)),
           1007, "$hex: before the frame is there");

        $ws->send_binary($bytes);
        ok($ws->recv_message->{payload} eq $bytes, "$hex: but fine as binary");
    }

    is(code_after(frame(1, $_)), 1007, unpack('H*', $_) . ': not finished')
        for "\xc3", "\xe2\x82", "\xf0\x9f\x98", "x\xf4\x8f\xbf";
    is(code_after(frame(1, "\xe2", fin => 0) . frame(0, "\x82", fin => 0)
                  . frame(0, '')), 1007, 'nor in fragments');
    is(code_after(frame(1, "\xe2", fin => 0) . frame(9, "\xff")
                  . frame(0, "\x82\xacgood")), "message \"\xe2\x82\xacgood\"",
       'a ping between has nothing to do with it');
}


subtest 'UTF-8' => \&texts;


subtest 'sizes' => sub {
    my $small = sub {
        my $ws = $nginx->ws(path => '/small?channel=size');
        $ws->send_bytes($_[0]);
        my $m = $ws->recv_message;
        return $m ? length $m->{payload} : $ws->close_code;
    };

    is($small->(frame(1, 'x' x 1024)), 1024, 'as much as is allowed');
    is($small->(frame(1, 'x' x 1025)), 1009, 'a byte more');
    is($small->(substr frame(1, '', length => 6000), 0, 4), 1009,
       'refused by its length, before anything of it is there');
    is($small->(frame(1, 'x' x 500, fin => 0)
                . frame(0, 'x' x 525)), 1009, 'a sum of fragments');
    is($small->(frame(1, 'x' x 500, fin => 0)
                . substr frame(0, '', length => 6000), 0, 4), 1009,
       'by the length of the second');

    my %before = map { $_ => $nginx->rss($_) } $one, $two;

    for my $claim (2**32, 2**32 - 1, 2**31, 2**40, 2**62,
               9223372036854775807) {
        for my $opcode (1, 2) {
            for my $worker ($one, $two) {
                is(code_after(frame($opcode, 'x' x 100, length => $claim),
                              worker => $worker), 1009,
                   "a frame of $claim bytes, so it says");
                is(code_after(frame($opcode, 'x', fin => 0)
                              . frame(0, 'x', length => $claim),
                              worker => $worker), 1009, 'a second fragment');
            }
        }
    }

    # claims that are allowed take no memory either, until the bytes come

    my @open = map { raw(worker => $_ % 2 ? $one : $two) } 1 .. 200;
    $_->send_bytes(substr frame(1, '', length => 200_000), 0, 14) for @open;
    barrier($nginx->http(worker => $_))->() for $one, $two;

    for my $worker ($one, $two) {
        my $grown = $nginx->rss($worker) - $before{$worker};
        cmp_ok($grown, '<', 8 * 1024 * 1024, "worker $worker has not grown")
            if !$ENV{TEST_TIMEOUT_SCALE};
    }

    $_->cut for @open;
};


sub pings {
    my $ws = raw();

    for my $payload ('', 'a', "\0\xff\xfe", 'x' x 125) {
        $ws->send_ping($payload);

        my $f = $ws->recv_frame;

        is($f->{opcode}, 10, 'a pong');
        ok($f->{fin} && !$f->{masked} && !$f->{rsv}, 'whole, not masked');
        ok($f->{payload} eq $payload, 'with the same data');
    }

    $ws->send_pong($_) for '', 'x' x 125, "\xff";
    $ws->send_text('alive');
    is($ws->recv_text, 'alive', 'pongs that nobody asked for are no harm');
}


subtest 'pings' => \&pings;


subtest 'too many pings' => sub {
    my $ws = $nginx->ws(path => '/native');

    $ws->send_bytes(frame(9, 'x') x 300);

    my $pongs = 0;
    my $f;

    while ($f = $ws->recv_frame) {
        last if $f->{opcode} == 8;
        $pongs++ if $f->{opcode} == 10;
    }

    is($pongs, 100, 'a hundred are answered');
    is($f ? unpack('n', $f->{payload}) : 0, 4429, 'then it is enough');
    is(raw()->status, 101, 'others are not counted with it');
};


# wss: the same again, and large messages both ways

%tls = (tls => 1);

subtest 'TLS: errors' => \&errors;
subtest 'TLS: split at bytes' => \&split_everywhere;
subtest 'TLS: UTF-8' => \&texts;
subtest 'TLS: pings' => \&pings;

subtest 'TLS: large messages both ways at once' => sub {
    my ($a, $b) = map { $nginx->ws(%tls, path => '/raw?channel=large',
                                   worker => $_) } $one, $two;
    my @sent = ('A' x 190_000, 'B' x 190_000, 'C' x 95_000, 'D' x 95_000);
    my %got;

    $a->send_text($sent[0]);
    $b->send_text($sent[1]);
    $a->send_text($sent[2], fin => 0);
    $a->send_frame(0, $sent[3]);

    for my $ws ($a, $b) {
        for (1 .. 3) {
            my $text = $ws->recv_text;
            $got{ defined $text ? length($text) . substr($text, 0, 1)
                                  . substr($text, -1) : 'none' }++;
        }
    }

    is_deeply(\%got, { '190000AA' => 2, '190000BB' => 2, '190000CD' => 2 },
              'all arrive');
};

is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
