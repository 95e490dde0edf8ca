#!/usr/bin/env perl

# permessage-deflate (RFC 7692): if this fails, browsers refuse the handshake,
# get messages they can't inflate or not the ones that others get, or a few
# bytes of a client become all of a worker's memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw( decode_base64 );

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my %at = (
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app * history=1000;
        fanout_permit all *;
        fanout_deflate on;
        fanout_drain 100ms;
        fanout_rate off;
        fanout_budget off;
END
    server => <<'END',
        location /native { fanout app; }
        location /raw    { fanout app; fanout_dialect raw; }
        location /plain  { fanout app; fanout_dialect raw;
                           fanout_deflate off; }
        location /large  { fanout app; fanout_dialect raw;
                           fanout_message_size 1m; fanout_buffer 4m;
                           fanout_deflate_ratio 0; }
        location /rate   { fanout app; fanout_rate 1r/s burst=100; }
        location /once   { fanout app; fanout_rate 1r/s burst=1; }
        location /ratio  { fanout app; fanout_rate 1r/s burst=100;
                           fanout_deflate_ratio 20; }
        location /any    { fanout app; fanout_rate 1r/s burst=100;
                           fanout_deflate_ratio 0; }
        location /rawrate { fanout app; fanout_dialect raw;
                            fanout_rate 1r/s burst=100; }
        location /address { fanout app; fanout_dialect raw;
                            fanout_budget address commands=1/s sessions=off
                                          burst=60s; }
        location /user   { fanout app; fanout_user $arg_user;
                           fanout_budget user commands=1/s burst=60s; }
        location /slow   { fanout app; fanout_buffer 4k; }
        location /api/   { fanout_api app; }
        location /status { fanout_status app; }
END
);

my $nginx = Fanout::Nginx->start(%at, tls => 1, workers => 2);
my ($one, $two) = $nginx->worker_pids;

my $takeover = 'server_no_context_takeover; client_no_context_takeover';


sub raw {
    my ($channel, %o) = @_;

    $nginx->ws(path => ($o{at} || '/raw') . "?channel=$channel",
               deflate => 1, %o);
}


# the next message, as {opcode, payload, deflated}

sub got { $_[0]->recv_message || { payload => 'nothing', opcode => 0 } }


sub counters {
    my %sums;

    my $s = $nginx->http->get('/status')->json;

    for my $worker (@{ $s->{workers} }) {
        $sums{$_} += $worker->{counters}{$_} for keys %{ $worker->{counters} };
    }

    return \%sums;
}


# text like that of messages, another for each seed

sub text {
    my ($len, $seed) = @_;

    $seed = $seed || 1;

    my $text = '';
    my $n = $seed * 7919;

    while (length $text < $len) {
        $n = ($n * 1103515245 + 12345) % 2147483648;
        $text .= '{"id":' . ($n >> 8) . ',"name":"user","état":"ok"},';
    }

    $text = substr $text, 0, $len;

    # no character cut off

    $text =~ s/[\xc0-\xff]\z/x/;

    return $text;
}


sub bytes { my ($s) = @_; utf8::encode($s); $s }
sub chars { my ($s) = @_; utf8::decode($s); $s }
sub noise { join '', map { chr int rand 256 } 1 .. $_[0] }


subtest 'what is agreed on' => sub {
    my $answer = sub {
        my ($offer, %o) = @_;

        my $ws = raw('a', deflate => 0, headers => [
            map { [ 'Sec-WebSocket-Extensions' => $_ ] }
                ref $offer ? @$offer : $offer
        ], %o);

        return $ws->headers->{'sec-websocket-extensions'};
    };

    my $p = 'permessage-deflate';
    my $yes = "$p; $takeover";

    is($answer->($p), $yes, 'contexts are never taken over');
    is($answer->("$p; client_max_window_bits"), $yes, 'as Chromium offers');
    is($answer->("$p; client_max_window_bits=$_"), $yes,
       "a client's window of $_ bits") for 8 .. 15;
    is($answer->("$p; $takeover"), $yes, 'no takeover offered');

    is($answer->("$p; server_max_window_bits=15"),
       "$yes; server_max_window_bits=15", 'the largest window');
    is($answer->("$p; server_max_window_bits=$_"),
       "$yes; server_max_window_bits=9", "a window of $_ bits") for 9 .. 14;
    is($answer->("$p; server_max_window_bits=\"8\""),
       "$yes; server_max_window_bits=8", 'the smallest');

    for ('memory', 'server_max_window_bits', 'server_max_window_bits=16',
         'server_max_window_bits=7', 'server_max_window_bits=09',
         'client_max_window_bits=16', 'client_max_window_bits=',
         'client_no_context_takeover=1', 'client_max_window_bits; ' x 2 . 'x',
         'client_max_window_bits;client_max_window_bits', '', ';')
    {
        is($answer->("$p; $_"), undef, "declined: $_");
    }

    is($answer->("$p; memory, $p; server_max_window_bits=9"),
       "$yes; server_max_window_bits=9", 'the next offer is looked at');
    is($answer->([ "x; $p", "$p; memory", $p ]), $yes, 'in all headers');
    is($answer->("$p; server_max_window_bits=12, $p"),
       "$yes; server_max_window_bits=9", 'the first that will do');
    is($answer->('x-webkit-deflate-frame'), undef, 'another extension');
    is($answer->('x' x 3000 . ", $p"), $yes, 'a long name before');
    is($answer->($p, at => '/plain'), undef, 'where it is off');
    is(raw('a', deflate => 0)->headers->{'sec-websocket-extensions'}, undef,
       'not where it was not offered');
};


subtest 'all get the same' => sub {
    my @subs;

    for my $worker ($one, $two) {
        push @subs, map { raw('mixed', worker => $worker, deflate => $_) }
            0, 1, 'permessage-deflate; server_max_window_bits=8',
            'permessage-deflate; server_max_window_bits=10';

        for my $deflate (0, 1, 'permessage-deflate; server_max_window_bits=9') {
            my $ws = $nginx->native(path => '/native', worker => $worker,
                                    deflate => $deflate);
            $ws->ok(join => channel => 'mixed');
            push @subs, $ws;
        }
    }

    my $from = raw('mixed', deflate => 0, worker => $one);
    my ($same, $deflated, $plain, $wrong) = (0, 0, 0, 0);
    my @sizes = (0, 1, 100, 255, 256, 257, 1000, 5000, 40000);

    for my $size (@sizes) {
        for my $kind (1, 2) {
            my $data = $kind == 1 ? text($size) : text($size, 2) . "\xff";

            $from->send_frame($kind, $data);
            got($from);

            for my $ws (@subs) {
                my $m = got($ws);
                my $is = $m->{payload};

                if ($ws->isa('Fanout::Native')) {
                    my $j = Fanout::JSON::decode($is);

                    $is = $j->{data};
                    $is = $j->{enc} ? decode_base64($is)
                                    : bytes($is);
                    $wrong++ if $m->{opcode} != 1;

                } elsif ($m->{opcode} != $kind) {
                    $wrong++;
                }

                $same++ if $is eq $data;
                diag("$size bytes: " . length $is) if $is ne $data;

                if ($m->{deflated}) {
                    $deflated++;
                    $wrong++ if !$ws->deflate
                                || $m->{deflated} >= length $m->{payload}
                                || length $m->{payload} < 256;
                } else {
                    $plain++;
                    $wrong++ if $ws->deflate && length $m->{payload} >= 256;
                }
            }
        }
    }

    is($same, 2 * @sizes * @subs, 'what was published');
    is($wrong, 0, 'deflated where it was agreed on, from 256 bytes on');
    cmp_ok($deflated, '>', 50, "deflated messages: $deflated");
    cmp_ok($plain, '>', 50, "and plain ones: $plain");

    my $noise = noise(3000);
    $from->send_binary($noise);
    $subs[1]->{seen} = got($subs[1]);
    is($subs[1]{seen}{payload}, $noise, 'what does not shrink');
    ok(!$subs[1]{seen}{deflated}, 'goes as it is');
};


subtest 'one deflation for all' => sub {
    my @subs = map { raw('shared', worker => $one) } 1 .. 50;
    my $from = raw('shared', deflate => 0, worker => $two);

    my $before = counters();

    for (1 .. 10) {
        $from->send_text(text(4000, $_));
        got($from);
    }

    my $bad = 0;

    for my $ws (@subs) {
        for my $i (1 .. 10) {
            my $m = got($ws);
            $bad++ if $m->{payload} ne text(4000, $i) || !$m->{deflated};
        }
    }

    is($bad, 0, 'each has all');

    my $after = counters();
    my %more = map { $_ => $after->{$_} - $before->{$_} } keys %$after;

    is($more{deflated}, 10, 'messages deflated');
    is($more{deflated_in}, 40000, 'of so many bytes');
    cmp_ok($more{deflated_out}, '<', 20000, "to $more{deflated_out}");
    is($more{delivered}, 510, 'and delivered');
};


subtest 'what never shrinks' => sub {
    my ($ws, $bad) = (raw('vain', worker => $one), 0);
    my $before = counters();

    for my $i (1 .. 200) {
        my $noise = noise(400);
        $ws->send_binary($noise);

        my $m = got($ws);
        $bad++ if $m->{payload} ne $noise || $m->{deflated};
    }

    is($bad, 0, 'comes as it is');

    my $tries = counters()->{deflate_vain} - $before->{deflate_vain};
    cmp_ok($tries, '>', 4, 'it was tried');
    cmp_ok($tries, '<', 20, "but not each time: $tries");

    my $plain = 0;

    for my $i (1 .. 100) {
        $ws->send_text(text(1000, $i));
        my $m = got($ws);
        $bad++ if $m->{payload} ne text(1000, $i);
        last if $m->{deflated};
        $plain++;
    }

    cmp_ok($plain, '<=', 64, "what shrinks is seen again, after $plain");

    # now and then something that does not changes nothing

    for my $i (1 .. 30) {
        $ws->send_binary(noise(400)) for 1 .. 3;
        $ws->send_text(text(1000, $i));
        got($ws) for 1 .. 3;
        my $m = got($ws);
        $bad++ if $m->{payload} ne text(1000, $i) || !$m->{deflated};
    }

    is($bad, 0, 'three in a row are no reason');
};


subtest 'windows of the server' => sub {
    my %subs = map { $_ => raw('windows', deflate => 'permessage-deflate; '
                                          . "server_max_window_bits=$_") }
               8 .. 15;
    my $from = raw('windows', at => '/large', deflate => 0);

    # what is alike lies near, and as far apart as any window allows

    for my $far (200, 300, 1000, 4000, 16000, 33000) {
        my $data = (text($far) . substr noise($far), 0, 50) x 3;

        $from->send_binary($data);
        got($from);

        is(join(' ', grep { got($subs{$_})->{payload} ne $data } 8 .. 15), '',
           "what comes again after $far bytes");
    }
};


subtest 'windows of the client' => sub {
    my $ws = raw('client', at => '/large');
    my $n = 0;

    for my $bits (8 .. 15) {
        for my $level (0, 1, 9) {
            for my $final (0, 1) {
                my $data = (text(20000) . noise(100)) x 2;

                $ws->send_deflated(2, $data, bits => $bits, level => $level,
                                   final => $final);
                $n++ if got($ws)->{payload} eq $data;
            }
        }
    }

    is($n, 8 * 3 * 2, 'what it deflates comes back');
    is($ws->deflate->{client_no_context_takeover}, undef, 'without a context');
};


subtest 'examples of the RFC' => sub {
    my $ws = raw('rfc');

    my %payload = (
        '7.2.3.1, one block'     => 'f248cdc9c90700',
        '7.2.3.3, not compressed' => '000500faff48656c6c6f00',
        '7.2.3.4, BFINAL'        => 'f348cdc9c9070000',
        'BFINAL and no more'     => 'f348cdc9c90700',
        '7.2.3.5, two blocks'    => 'f248050000 00ffffcac9c90700',
    );

    for my $name (sort keys %payload) {
        my $bytes = pack 'H*', $payload{$name} =~ s/ //gr;

        $ws->send_frame(1, $bytes, rsv => 4);
        is(got($ws)->{payload}, 'Hello', $name);

        for my $at (0 .. length $bytes) {
            $ws->send_frame(1, substr($bytes, 0, $at), rsv => 4, fin => 0);
            $ws->send_ping('between');
            $ws->send_frame(0, substr $bytes, $at);
        }

        my $n = grep { got($ws)->{payload} eq 'Hello' } 0 .. length $bytes;
        is($n, 1 + length $bytes, "$name, in two fragments");
    }

    for my $empty ("\0", '', "\2\0", "\1\0\0\xff\xff") {
        $ws->send_frame(1, $empty, rsv => 4);
        is(got($ws)->{payload}, '', 'empty: 0x' . unpack 'H*', $empty);
    }

    # 7.2.3.2 comes with a context, which was not agreed on

    $ws->send_frame(1, "\xf2\x00\x11\x00\x00", rsv => 4);
    is($ws->wait_close, 1007, '7.2.3.2, a context taken over');
};


subtest 'cut anywhere' => sub {
    my $ws   = raw('cut');
    my $data = text(400);
    my $z    = $ws->deflated($data);

    for my $fin (0, 1) {
        my $bytes = $fin ? $ws->frame(1, $z, rsv => 4)
                  : $ws->frame(1, substr($z, 0, 50), rsv => 4, fin => 0)
                    . $ws->frame(10, 'x')
                    . $ws->frame(0, substr($z, 50, 1), fin => 0)
                    . $ws->frame(0, '', fin => 0)
                    . $ws->frame(0, substr($z, 51));
        my $bad = 0;

        for my $at (1 .. length($bytes) - 1) {
            $ws->send_bytes(substr $bytes, 0, $at);

            # what was sent is read before the rest comes

            select undef, undef, undef, 0.002 if $at % 10 == 0;
            $ws->send_bytes(substr $bytes, $at);
            $bad++ if got($ws)->{payload} ne $data;
        }

        is($bad, 0, 'by TCP, ' . ($fin ? 'one frame' : 'several'));
    }

    # byte by byte, each a fragment

    my $n = length $z;

    $ws->send_frame($_ ? 0 : 1, substr($z, $_, 1), rsv => $_ ? 0 : 4,
                    fin => $_ == $n - 1) for 0 .. $n - 1;
    is(got($ws)->{payload}, $data, 'a fragment each byte');

    # another connection's message in between

    my $other = raw('cut-other');

    $ws->send_frame(1, substr($z, 0, 60), rsv => 4, fin => 0);
    $ws->send_ping('taken');
    is(($ws->recv_frame || {})->{opcode}, 10, 'the first half was taken');
    $other->send_deflated(1, text(900, 3));
    is(got($other)->{payload}, text(900, 3), 'another between');
    $ws->send_frame(0, substr $z, 60);
    is(got($ws)->{payload}, $data, 'then the second half');
};


subtest 'clients mix' => sub {
    my $ws = raw('mix');

    $ws->send_text('plain');
    is(got($ws)->{payload}, 'plain', 'plain where it was agreed on');
    $ws->send_deflated(1, 'small');
    is(got($ws)->{payload}, 'small', 'deflated');
    $ws->send_frame(1, 'pl', fin => 0);
    $ws->send_frame(0, 'ain');
    is(got($ws)->{payload}, 'plain', 'plain in fragments');

    my $native = $nginx->native(path => '/native', deflate => 1);

    $native->send_deflated(1, '[' . join(',', map {
        qq({"id":$_,"op":"join","channel":"mix-$_"})
    } 1 .. 40) . ']');

    my $m = got($native);
    ok($m->{deflated}, 'replies of some size are deflated');
    is(scalar @{ Fanout::JSON::decode($m->{payload}) }, 40, 'all of them');
};


subtest 'bits that may not be' => sub {
    my @wrong = (
        [ 'RSV1 in a continuation', sub {
            $_[0]->send_frame(1, 'a', fin => 0);
            $_[0]->send_frame(0, 'b', rsv => 4) } ],
        [ 'RSV1 in the second frame of a deflated one', sub {
            $_[0]->send_frame(1, "\xf2", fin => 0, rsv => 4);
            $_[0]->send_frame(0, "\x00", rsv => 4) } ],
        [ 'RSV1 in a ping', sub { $_[0]->send_ping('', rsv => 4) } ],
        [ 'RSV1 in a pong', sub { $_[0]->send_pong('', rsv => 4) } ],
        [ 'RSV1 in a close', sub { $_[0]->send_frame(8, '', rsv => 4) } ],
        [ 'RSV2', sub { $_[0]->send_frame(1, 'a', rsv => 2) } ],
        [ 'RSV3', sub { $_[0]->send_frame(1, 'a', rsv => 1) } ],
        [ 'RSV1 and RSV2', sub { $_[0]->send_frame(1, "\0", rsv => 6) } ],
    );

    for (@wrong) {
        my $ws = raw('bits');
        $_->[1]->($ws);
        is($ws->wait_close, 1002, $_->[0]);
    }

    for ([ at => '/raw', deflate => 0 ], [ at => '/plain', deflate => 1 ],
         [ at => '/raw', deflate => 'permessage-deflate; x' ])
    {
        my $ws = raw('bits', @$_);
        $ws->send_frame(1, "\0", rsv => 4);
        is($ws->wait_close, 1002, "RSV1 where nothing was agreed on: @$_");
    }
};


subtest 'garbage' => sub {
    my $z = Fanout::WS->deflated(text(500));

    for ([ 'no DEFLATE', 2, "\xff\xff\xff\xff" ],
         [ 'cut off', 1, substr $z, 0, 100 ],
         [ 'as zlib writes files', 1, "\x78\x9c$z" ],
         [ 'uncompressed', 1, 'Hello, world' ],
         [ 'not UTF-8', 1, Fanout::WS->deflated("abc\xff") ],
         [ 'UTF-8 cut off', 1, Fanout::WS->deflated("abc\xe2\x82") ])
    {
        my $ws = raw('garbage');

        $ws->send_frame($_->[1], $_->[2], rsv => 4);
        is($ws->wait_close, 1007, $_->[0]);
    }

    my $ws = raw('garbage');
    $ws->send_deflated(2, "abc\xff");
    is(got($ws)->{payload}, "abc\xff", 'binary may be anything');

    my ($ok, $closed) = (0, 0);

    srand 1;

    for my $i (1 .. 200) {
        my $ws = raw('noise', deflate => 1);
        my $bytes = $i % 2 ? noise(1 + rand 300) : $z;

        substr $bytes, rand length $bytes, 1, chr rand 256;
        $ws->send_frame(2, $bytes, rsv => 4);

        my $m = $ws->recv_message;
        $m ? $ok++ : $ws->close_code =~ /^10(?:07|09)$/ ? $closed++ : 0;
    }

    is($ok + $closed, 200, "of 200 some are messages: $ok");
};


subtest 'bombs' => sub {
    my %before = map { $_ => $nginx->rss($_) } $one, $two;

    my $bomb = Fanout::WS->deflated('a' x 50_000_000);
    my ($ws, $limit) = (undef, 64 * 1024);

    $ws = raw('bomb', at => '/large');
    $ws->send_frame(1, $bomb, rsv => 4);
    is($ws->wait_close, 1009, '50 MB in ' . length($bomb) . ' bytes');
    like($ws->close_reason, qr/fanout_message_size/, 'over the size');

    $ws = raw('bomb');
    $ws->send_deflated(1, text($limit));
    is(length got($ws)->{payload}, $limit, 'a message of the full size');
    $ws->send_deflated(1, text($limit + 1));
    is($ws->wait_close, 1009, 'a byte more');

    # in fragments that each are small, and as an endless row of blocks

    $ws = raw('bomb', at => '/large');
    my $at = 0;

    while ($at < length $bomb) {
        last if !$ws->send_frame($at ? 0 : 1, substr($bomb, $at, 1000),
                                 rsv => $at ? 0 : 4,
                                 fin => $at + 1000 >= length $bomb);
        $at += 1000;
    }

    is($ws->wait_close, 1009, 'in fragments');

    $ws = raw('bomb');
    $ws->send_frame(2, "\3\0" x 20000, rsv => 4);
    is($ws->wait_close, 1007, 'thousands of last blocks');

    for (1 .. 100) {
        $ws = raw('bomb', at => '/large');
        $ws->send_frame(1, $bomb, rsv => 4);
        $ws->wait_close;
    }

    for my $worker ($one, $two) {
        my $grown = $nginx->rss($worker) - $before{$worker};

        cmp_ok($grown, '<', ($ENV{TEST_SANITIZE} ? 512 : 6) << 20,
               "a worker does not grow: $grown");
    }

    cmp_ok(counters()->{inflate_errors}, '>=', 100, 'they are counted');
};


# A publish of this many bytes that are all equal

sub equal {
    my ($ws, $n) = @_;

    my $id = ++$ws->{equal};
    my $cmd = qq({"id":$id,"op":"publish","channel":"equal","data":")
              . 'a' x $n . '"}';

    $ws->deflate ? $ws->send_deflated(1, $cmd) : $ws->send_text($cmd);

    my $r = $ws->reply($id);

    return $r && ($r->{ok} ? 'ok' : $r->{error}{code}) || 'nothing';
}


# How many of these are taken, and what is said then

sub until_refused {
    my ($ws, $size, $most) = @_;

    for my $n (0 .. $most) {
        my $is = equal($ws, $size);
        return ($n, $is) if $is ne 'ok';
    }

    return ($most + 1, 'ok');
}


subtest 'what shrinks well is no bomb' => sub {
    my $row = '[' . join(',', ('""') x 50) . ']';

    for my $deflate (0, 1) {
        my $ws = $nginx->native(path => '/rate', deflate => $deflate);
        my %data = (
            '5,000 equal bytes' => '"' . 'a' x 5000 . '"',
            'an empty sheet'    => '[' . join(',', ($row) x 200) . ']',
            'a blank canvas'    => '"data:image/png;base64,' . 'A' x 50000
                                   . '"',
        );

        for my $what (sort keys %data) {
            my $cmd = '{"id":"' . $what . '","op":"publish","channel":"well",'
                      . '"data":' . $data{$what} . '}';

            $deflate ? $ws->send_deflated(1, $cmd) : $ws->send_text($cmd);
            ok(($ws->reply($what) || {})->{ok},
               $what . ($deflate ? ', compressed' : ''));
        }
    }

    my $ws = raw('well');
    $ws->send_deflated(1, 'a' x 60000);
    is(got($ws)->{payload}, 'a' x 60000, '60 kB in a few bytes, raw');
};


subtest 'what a message grows to costs' => sub {
    my $before = counters();
    my $ws = $nginx->native(path => '/rate', deflate => 1);
    my ($n, $is) = until_refused($ws, 60000, 99);

    # each 1 and (60,000 - 100 * some 100) / 4096

    cmp_ok($n, '>=', 7, "of 100 commands, $n such messages");
    cmp_ok($n, '<', 12, 'not more');
    is($is, 'rate_limited', 'then its rate is used up');

    my $charged = counters()->{inflate_charged} - $before->{inflate_charged};
    cmp_ok($charged, '>', $n * 45000, "bytes charged: $charged");

    $n++ while $n < 200 && equal($ws, 60000) eq 'rate_limited';

    is($ws->wait_close, 4429, 'who goes on is closed');
    like($ws->close_reason, qr/fanout_deflate_ratio/, 'for what it inflated');
    cmp_ok($n, '<', 25, 'at a minute of its rate');

    # what costs more than may be had at once is taken all the same

    $ws = $nginx->native(path => '/once', deflate => 1);
    is(equal($ws, 60000), 'ok', 'one alone');
    is(equal($ws, 1), 'rate_limited', 'is paid afterwards');

    # without compression, where any ratio is free, and where none is charged

    for ([ 'not compressed', path => '/rate', deflate => 0 ],
         [ 'any ratio', path => '/any', deflate => 1 ],
         [ 'no rate', path => '/native', deflate => 1 ])
    {
        my ($how, @o) = @$_;
        my ($n) = until_refused($nginx->native(@o), 60000, 79);
        is($n, 80, "nothing is charged: $how");
    }

    # the ratio counts, and 4,096 bytes are free

    for ([ '/rate', 4000, 80 ], [ '/ratio', 4000, 80 ], [ '/rate', 5500, 80 ],
         [ '/ratio', 60000, 7 ])
    {
        my ($path, $size, $want) = @$_;
        my ($n) = until_refused($nginx->native(path => $path, deflate => 1),
                                $size, 79);
        cmp_ok($n, '>=', $want, "$path, $size bytes: $n");
        cmp_ok($n, '<=', $want + 1, 'not more') if $want < 80;
    }
};


subtest 'a user above its budget' => sub {
    my @o     = (path => '/user?user=ann', deflate => 1);
    my $mate  = $nginx->native(path => '/user?user=bob', deflate => 1);
    my $ws    = $nginx->native(@o);
    my $other = $nginx->native(@o);
    my $third = $nginx->native(@o);

    # each 13 of the 60: 60,000 bytes beyond 100 times some 100

    for my $s ($ws, $other, $third) {
        is(equal($s, 5000), 'ok', 'a message within the ratio');
    }

    my ($n) = until_refused($ws, 60000, 99);
    cmp_ok($n, '<', 12, "it is above after $n");

    # the others learn of it when they draw from the budget

    for my $s ($other, $third) {
        $s->batch(map { { op => 'ping' } } 1 .. 17);
    }

    my $before = counters();
    is(equal($other, 5000), 'rate_limited', 'one within the ratio is refused');

    equal($third, 60000);
    is($third->wait_close, 4429, 'one beyond closes');
    like($third->close_reason, qr/fanout_budget, fanout_deflate_ratio/,
         'for what it would inflate');

    my $after = counters();
    cmp_ok($after->{inflated_out} - $before->{inflated_out}, '<', 10000,
           'and was not inflated');
    cmp_ok($after->{limited_user}, '>=', $before->{limited_user} + 2,
           'and is counted');

    is(equal($mate, 60000), 'ok', 'another user is not concerned');
};


subtest 'a bomb costs its address' => sub {
    my $ws = raw('bomb', at => '/rawrate');
    my $n = 0;

    while ($n < 100) {
        $ws->send_deflated(1, 'a' x 60000);
        last if length got($ws)->{payload} != 60000;
        $n++;
    }

    is($ws->close_code, 4429, 'raw: closed for its rate');
    cmp_ok($n, '<', 12, "after $n");

    # what is refused has been inflated, too

    for my $bad ([ 1009, '127.0.0.2', 'a' x 100_000 ],
                 [ 1007, '127.0.0.3', 'a' x 60000 . "\xff" ])
    {
        my ($code, $local, $data) = @$bad;
        my ($status, $closed) = (101, 0);

        for (1 .. 60) {
            $ws = raw('bomb', at => '/address', local => $local,
                      expect => undef);
            $status = $ws->status;
            last if $status != 101;

            $ws->send_deflated(1, $data);
            $closed++ if $ws->wait_close == $code;
        }

        is($status, 429, "$code, again and again: the address has to wait");
        cmp_ok($closed, '<', 30, "after $closed");
    }
};


subtest 'who is slow' => sub {
    my %slow = map {
        my $ws = $nginx->native(path => '/slow', deflate => $_,
                                rcvbuf => 4096, worker => $one);
        $ws->ok(join => channel => 'slow');
        ($_ => $ws);
    } 0, 1, 'permessage-deflate; server_max_window_bits=8';

    my $from = raw('slow', deflate => 0);
    my $n = 600;

    for my $i (1 .. $n) {
        $from->send_text($i % 3 ? text(8000, $i) : "short $i");
        got($from);
    }

    cmp_ok(counters()->{lags}, '>', 0, 'they lag');

    for my $deflate (sort keys %slow) {
        my ($bad, $deflated) = (0, 0);

        for my $i (1 .. $n) {
            my $m = got($slow{$deflate});
            my $j = eval { Fanout::JSON::decode($m->{payload}) } || {};

            $deflated++ if $m->{deflated};
            $bad++ if bytes($j->{data} // '')
                      ne ($i % 3 ? text(8000, $i) : "short $i");
        }

        is($bad, 0, "all, in order: $deflate");
        is($deflated, $deflate ? $n * 2 / 3 : 0, 'deflated as agreed');
    }
};


subtest 'who comes back' => sub {
    my $from = $nginx->native(path => '/native', worker => $one);

    # what one was sent a moment ago others are sent as it was, if they want the
    # same

    $from->ok(join => channel => 'back');
    $from->ok(publish => channel => 'back',
              data => chars(text(1000, $_)))
        for 1 .. 20;

    for my $deflate (0, 1, 'permessage-deflate; server_max_window_bits=9',
                     1, 0)
    {
        my @how = (deflate => $deflate, worker => $one);
        my $ws = $nginx->native(path => '/native', @how);
        my $ok = $ws->ok(join => channel => 'back', history => 20);

        is(join(' ', map { length $_->{data} } @{ $ok->{messages} }),
           join(' ', map { length chars(text(1000, $_)) }
                     1 .. 20), "history: $deflate");

        my $again = $nginx->native(path => '/native', @how);
        my $since = $again->ok(join => channel => 'back',
                               since => { epoch  => $ok->{epoch},
                                          offset => 5 });
        is_deeply([ map { $_->{offset} } @{ $since->{messages} } ],
                  [ 6 .. 20 ], 'what was missed');

        my $raw = raw('back', @how,
                      path => "/raw?channel=back&since=$ok->{epoch}:10");
        my @got = map { got($raw) } 11 .. 20;

        is(scalar(grep { $got[$_]{payload}
                         eq Fanout::JSON::encode(chars(text(1000, $_ + 11))) }
                  0 .. 9), 10, 'raw');
        is(scalar(grep { $_->{deflated} } @got), $deflate ? 10 : 0,
           'deflated as agreed');
    }
};


# What many are told of the same history is deflated once, whatever is around
# it: ids, what they have missed of it.

subtest 'replies with the same history' => sub {
    my $from = $nginx->native(path => '/native', worker => $one);
    my ($n, $bad, $plain) = (12, 0, 0);

    $from->ok(publish => channel => 'crowd', data => chars(text(1000, $_)))
        for 1 .. 40;

    my $join = $from->ok(join => channel => 'crowd', history => 40);
    my @crowd = map { $nginx->native(path => '/native', worker => $one,
                                     deflate => $_ % 2 ? 1
                                       : 'permessage-deflate; '
                                         . 'server_max_window_bits=9') }
                1 .. $n;
    my $before = counters();
    my $i = 0;

    for my $ws (@crowd) {
        my $id = 'x' x ++$i;
        my ($op, $cmd) = $i % 3
            ? (join => qq("since":{"epoch":"$join->{epoch}","offset":0}))
            : (history => '"limit":40');

        $ws->send_text(qq({"id":"$id","op":"$op","channel":"crowd",$cmd}));
    }

    for my $ws (@crowd) {
        my (@got, $m);

        while ($m = $ws->recv_message(20)) {
            my $j = Fanout::JSON::decode($m->{payload});
            my $has = $j->{part} || $j->{ok} || {};

            $plain++ if !$m->{deflated};
            push @got, @{ $has->{messages} || [] };
            last if !$j->{part};
        }

        $bad++ if join(' ', map { $_->{offset} } @got) ne join(' ', 1 .. 40);
        $bad += grep { bytes($_->{data}) ne text(1000, $_->{offset}) } @got;
    }

    is($bad, 0, "all of $n get all of it");
    is($plain, 0, 'deflated');

    # once for each window and part, and again when a second has passed: so
    # all asked before the first was read

    my $after = counters();
    my $times = $after->{deflated} - $before->{deflated};

    cmp_ok($times, '>', 0, "deflated $times times");
    cmp_ok($times, '<', 2 * $n * 2 / 3, 'not for each of them');
};


subtest 'over TLS' => sub {
    my $ws = raw('tls', tls => 1);
    my $plain = raw('tls', tls => 1, deflate => 0);
    my $bad = 0;

    for my $size (10, 300, 5000, 60000) {
        $ws->send_deflated(1, text($size));

        for ($ws, $plain) {
            my $m = got($_);
            $bad++ if $m->{payload} ne text($size)
                      || !!$m->{deflated} != ($_ == $ws && $size >= 256);
        }
    }

    is($bad, 0, 'both ways');
};


subtest 'a connection that is idle' => sub {
    my $n = 500;
    my (%least, @in);

    # one whose memory nothing else has been in

    my $fresh = Fanout::Nginx->start(%at, workers => 1);
    my ($pid) = $fresh->worker_pids;
    my $talks = $fresh->ws(path => '/raw?channel=idle', deflate => 1);

    for my $round (0 .. 5) {
        my $deflate = $round % 2;
        my $before  = $fresh->rss($pid);

        push @in, map { $fresh->ws(path => '/raw?channel=idle',
                                   deflate => $deflate) } 1 .. $n;

        # each is sent a message, and one sends

        $talks->send_deflated(1, text(5000));
        got($talks);
        $_->recv_frame for @in;

        my $each = ($fresh->rss($pid) - $before) / $n;

        diag(sprintf '%d: %.0f', $deflate, $each) if $ENV{DEFLATE_MEMORY};

        # the first rounds have what is once for a worker

        next if $round < 2;

        $least{$deflate} = $each
            if !defined $least{$deflate} || $each < $least{$deflate};
    }

    cmp_ok($least{0}, '>', 500, sprintf 'costs something: %.0f', $least{0});
    cmp_ok($least{1} - $least{0}, '<', 256,
           sprintf 'and no more with deflate: %.0f', $least{1});
} if !$ENV{TEST_SANITIZE};


subtest 'reload' => sub {
    my $ws = raw('reload');

    $nginx->reload(http => $at{http}
                           . 'fanout_deflate_level 9;'
                           . 'fanout_deflate_window 12;'
                           . 'fanout_deflate_min_length 1000;');

    is($ws->wait_close, 1012, 'says goodbye to those who are there');

    ($one, $two) = $nginx->worker_pids;

    my %subs = map { $_ => raw('reload', $_ ? (deflate => 'permessage-deflate; '
                                               . "server_max_window_bits=$_")
                                            : ()) } 0, 8 .. 15;

    is($subs{$_}->deflate->{server_max_window_bits} // 0,
       $_ >= 12 ? 12 : $_ > 9 ? 9 : $_, "the window for $_ bits")
        for 0, 8 .. 15;

    my $data = (text(6000) . noise(100)) x 3;
    $subs{0}->send_binary($data);

    for (0, 8 .. 15) {
        my $m = got($subs{$_});
        ok($m->{payload} eq $data && $m->{deflated}, "inflates: $_");
    }

    $subs{0}->send_text(text(999));
    ok(!got($subs{0})->{deflated}, 'the new threshold');
};


subtest 'mistakes' => sub {
    for ([ 'fanout_deflate yes;', qr/"fanout_deflate" directive/ ],
         [ 'fanout_deflate_level 0;', qr/"0" of "fanout_deflate_level": a number from 1 to 9/ ],
         [ 'fanout_deflate_level 10;', qr/"10" of "fanout_deflate_level": a number from 1 to 9/ ],
         [ 'fanout_deflate_level x;', qr/"x" of "fanout_deflate_level": a number from 1 to 9/ ],
         [ 'fanout_deflate_window 8;', qr/"8" of "fanout_deflate_window": a number from 9 to 15/ ],
         [ 'fanout_deflate_window 16;', qr/"16" of "fanout_deflate_window": a number from 9 to 15/ ],
         [ 'fanout_deflate_ratio 1033;', qr/"1033" of "fanout_deflate_ratio": a number from 0 to 1032/ ],
         [ 'fanout_deflate_ratio -1;', qr/"-1" of "fanout_deflate_ratio": a number from 0/ ],
         [ 'fanout_deflate_min_length 0;', qr/"fanout_deflate_min_length"/ ],
         [ 'fanout_deflate_min_length x;', qr/"x" of "fanout_deflate_min_length": a size from 1/ ],
         [ 'fanout_deflate_level 1; fanout_deflate_level 2;', qr/duplicate/ ],
         [ 'server { fanout_deflate_level 2; }', qr/not allowed here/ ])
    {
        my $http = $at{http};

        $http =~ s/fanout_deflate on;// if $_->[0] =~ /^fanout_deflate /;
        ok($nginx->try_reload($_->[1], http => "$http $_->[0]"), $_->[0]);
    }
};
