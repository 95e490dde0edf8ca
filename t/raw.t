#!/usr/bin/env perl

# The raw dialect: bare bodies both ways. If this fails, plain pub/sub clients
# and conformance tools get messages changed, as the wrong type or not at all,
# or are not told that they missed some.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app few:* history=5;
        fanout_channel app none:*;
        fanout_channel app * history=100;
        fanout_dialect raw;
END
    server => <<'END',
        location /raw { fanout app; fanout_permit all *; }
        location /native {
            fanout app;
            fanout_dialect native;
            fanout_permit all *;
        }
        location /user {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit all user:$fanout_user:*;
        }
        location /hear   { fanout app; fanout_permit join *; }
        location /say    { fanout app; fanout_permit publish *; }
        location /denied { fanout app; }
        location /rate   { fanout app; fanout_permit all *;
                           fanout_rate 2r/s burst=3; }
        location /size   { fanout app; fanout_permit all *;
                           fanout_message_size 100; }
        location /slow   { fanout app; fanout_permit all *; fanout_buffer 8k; }
        location /api/   { fanout_api app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;

sub raw { my $ch = shift; $nginx->ws(path => "/raw?channel=$ch", @_) }

sub publish {
    my ($channel, $body, $type) = @_;

    return $http->post("/api/channels/$channel/messages", $body,
                       headers => { 'Content-Type' => $type
                                    || 'application/json' })->json;
}

sub gone {
    my ($ws) = @_;

    $ws->send_close($ws->close_code);

    return wait_for(sub { $ws->fill(0.05); $ws->eof });
}


subtest 'bodies' => sub {
    my ($a, $b) = (raw('bodies', worker => $one), raw('bodies', worker => $two));

    my @all = map { [ 1, $_ ] } '', 'text', '{"a": 1 }', "\xe2\x80\xa8\0\n",
                                '"', 'x' x 65_536;
    push @all, map { [ 2, $_ ] } '', "\0\xff", 'text', "\xff" x 65_536;

    for my $from ($a, $b) {
        for my $body (@all) {
            my ($opcode, $bytes) = @$body;
            my $name = "opcode $opcode, " . length($bytes) . ' bytes';

            $from->send_frame($opcode, $bytes);

            for my $ws ($a, $b) {
                my $m = $ws->recv_message;
                ok($m && $m->{opcode} == $opcode && $m->{payload} eq $bytes,
                   $name . ($ws == $from ? ', own' : ''));
            }
        }
    }

    publish('bodies', '{ "a" : [1, 2] }');
    is_deeply([ map { $_->recv_text } $a, $b ], [ ('{"a":[1,2]}') x 2 ],
              'JSON by HTTP');
    publish('bodies', 'plain', 'text/plain');
    is_deeply([ map { $_->recv_text } $a, $b ], [ ('plain') x 2 ],
              'text by HTTP');
    publish('bodies', "\0\1", 'application/octet-stream');
    is_deeply([ map { $_->recv_message->{payload} } $a, $b ],
              [ ("\0\1") x 2 ], 'binary by HTTP');

    # RFC 6455, 8.1: a text frame is UTF-8, wherever the text is from

    for my $type ('text/plain', 'application/json', 'text/plain; charset=x') {
        for my $bytes ("\xff", "\xed\xa0\x80", "\"\xc0\x80\"") {
            my $r = $http->post('/api/channels/bodies/messages', $bytes,
                                headers => { 'Content-Type' => $type });
            is($r->{status}, 400, unpack('H*', $bytes) . " is no $type");
        }
    }

    publish('bodies', 'next', 'text/plain');
    is_deeply([ map { $_->recv_text } $a, $b ], [ ('next') x 2 ],
              'and reaches nobody');

    my $native = $nginx->native(path => '/native');
    $native->ok('publish', channel => 'bodies', event => 'e', data => 'str');
    is_deeply([ map { $_->recv_text } $a, $b ], [ ('"str"') x 2 ],
              'native: data as JSON');
    $native->ok('publish', channel => 'bodies', data => 1,
                echo => Fanout::JSON::false);
    is($a->recv_text, '1', 'echo:false is for native itself');
};


subtest 'channels' => sub {
    my $ws = raw('a%20b%2Fc%3A%C3%A9');
    publish('a%20b%2Fc%3A%C3%A9', '1');
    is($ws->recv_text, '1', 'percent-encoded');

    my %bad = (
        ''                     => 'no argument',
        'channel='             => 'empty',
        'channel=*'            => '*',
        'channel=a%2Ab'        => '* in disguise',
        'channel=%00'          => 'NUL',
        'channel=a%0Ab'        => 'a line end',
        'channel=%FF'          => 'no UTF-8',
        'channel=%ED%A0%80'    => 'half a surrogate',
        'channel=%C2%85'       => 'a control character of two bytes',
        'channel=' . 'x' x 256 => 'too long',
        'channels=a'           => 'another argument',
        'channel=%'            => 'a cut escape',
        'channel=%zz'          => 'no escape',
    );

    for my $args (sort keys %bad) {
        next if $args =~ /%(?:zz)?$/;

        my $ws = $nginx->ws(path => "/raw?$args", expect => undef);
        is($ws->status, 400, $bad{$args});
        like($ws->body, qr/channel/, 'why');
    }

    is(raw('x' x 255)->status, 101, '255 bytes');

    for my $args ('%', '%zz', '%4') {
        my $ws = $nginx->ws(path => "/raw?channel=$args", expect => undef);
        like($ws->status, qr/^(?:101|400)$/, "\"$args\" is an answer");
    }
};


subtest 'permissions' => sub {
    my $ws = $nginx->ws(path => '/denied?channel=a', expect => undef);
    is($ws->status, 403, 'no join');
    like($ws->body, qr/fanout_permit join/, 'names the directive');

    is($nginx->ws(path => '/say?channel=a', expect => undef)->status, 403,
       'publish is no join');

    $ws = $nginx->ws(path => '/hear?channel=a');
    publish('a', '1');
    is($ws->recv_text, '1', 'join alone');
    $ws->send_text('2');
    is($ws->wait_close, 4403, 'publishes nothing');
    like($ws->close_reason, qr/fanout_permit publish/, 'and why');

    my $try = sub {
        my ($user, $channel) = @_;
        $nginx->ws(path => "/user?channel=$channel", expect => undef,
                   headers => { 'X-User' => $user })->status;
    };

    is($try->('ann', 'user:ann:x'), 101, 'a variable');
    is($try->('ann', 'user:bob:x'), 403, 'of another');
    is($try->('*', 'user:bob:x'), 403, '* is no pattern');
    is($try->(undef, 'user::x'), 403, 'an empty one');
    is($try->(undef, 'user:bob:x'), 403, 'grants nothing');
};


subtest 'since' => sub {
    my $at = publish('since', $_) for 1 .. 5;
    my $epoch = publish('since', '6')->{epoch};

    for my $worker ($one, $two) {
        my $ws = raw("since&since=$epoch:3", worker => $worker);
        is_deeply([ map { $ws->recv_text } 1 .. 3 ], [ 4 .. 6 ],
                  'what was missed');

        $ws = raw("since&since=$epoch:6", worker => $worker);
        my $other = raw('since', worker => $worker);

        $other->send_text('live');
        is($_->recv_text, 'live', 'then what comes') for $ws, $other;
        publish('since', '"x"');
        is($_->recv_text, '"x"', 'and again') for $ws, $other;
        $epoch = $http->delete('/api/channels/since')->json->{epoch} || $epoch;
        is($_->wait_close, 1012, 'a purge closes') for $ws, $other;
        is($ws->close_reason, 'reset', 'with a reason');
        ok(gone($ws), 'for good');

        $epoch = publish('since', $_)->{epoch} for 1 .. 6;
    }

    my $old = $epoch;
    $http->delete('/api/channels/since');
    publish('since', '1');

    my $ws = raw("since&since=$old:1");
    is($ws->wait_close, 1013, 'an epoch that is gone');
    like($ws->close_reason, qr/since/, 'and why');

    $epoch = publish('few:s', $_)->{epoch} for 1 .. 9;
    $ws = raw("few:s&since=$epoch:4");
    is_deeply([ map { $ws->recv_text } 1 .. 5 ], [ 5 .. 9 ],
              'as far back as is kept');
    is(raw("few:s&since=$epoch:3")->wait_close, 1013, 'no further');
    is(raw("few:s&since=$_:9")->wait_close, 1013, "an epoch that is none: $_")
        for 'x', '0', "${epoch}0", uc $epoch;

    for my $since ('x', ':', "$epoch:", ':1', "$epoch:-1", "$epoch:x",
                   "$epoch:1:2", "$epoch:99999999999999999999")
    {
        my $ws = $nginx->ws(path => "/raw?channel=few:s&since=$since",
                            expect => undef);
        is($ws->status, 400, "since=$since");
        like($ws->body, qr/since.*epoch:offset/, 'why');
    }
};


subtest 'limits' => sub {
    my $ws = $nginx->ws(path => '/size?channel=size');
    $ws->send_text('x' x 100);
    is(length $ws->recv_text, 100, 'as much as is allowed');
    $ws->send_binary('x' x 101);
    is($ws->wait_close, 1009, 'a byte more');
    like($ws->close_reason, qr/fanout_message_size|too big/, 'why');

    $ws = $nginx->ws(path => '/rate?channel=rate');
    $ws->send_bytes(join '', map { $ws->frame(1, $_) } 1 .. 9);

    my $n = 0;
    $n++ while defined $ws->recv_text;

    is($ws->close_code, 4429, 'too many messages');
    cmp_ok($n, '<=', 3, 'no more than the burst');
};


subtest 'a gap' => sub {
    for my $worker ($one, $two) {
        my $ch = "few:gap$worker";
        my $ws = $nginx->ws(path => "/slow?channel=$ch", worker => $worker,
                            rcvbuf => 4096);

        publish($ch, "\"$_" . 'x' x 30_000 . '"') for 1 .. 200;

        my ($next, $bad) = (1, 0);

        while (defined(my $text = $ws->recv_text)) {
            $bad++ if $text !~ /^"${next}x/;
            $next++;
        }

        is($bad, 0, 'what comes is without a hole');
        is($ws->close_code, 1013, 'then it is told');
        is($ws->close_reason, 'gap', 'of the gap');
        cmp_ok($next, '<', 200, 'which there was');
        ok(gone($ws), 'and that is all');
    }
};


subtest 'who has seen the 101 is subscribed' => sub {
    my $missed = 0;

    for my $n (1 .. 200) {
        my $ws = $nginx->ws(path => "/raw?channel=at-once$n",
                            worker => $n % 2 ? $one : $two);
        publish("at-once$n", qq("$n"));

        my $text = $ws->recv_text;
        $missed++ if !defined $text || $text ne qq("$n");
    }

    is($missed, 0, 'a message published right after it is not missed');
};


subtest 'nothing is native' => sub {
    my $ws = raw('plain?heartbeat=1');

    $ws->send_text('{"id":1,"op":"ping"}');
    is($ws->recv_text, '{"id":1,"op":"ping"}', 'a command is a message');
    is($nginx->ws(path => '/raw?channel=a', subprotocols => [ 'fanout.v1' ])
       ->status, 101, 'a subprotocol does no harm');
};

is_deeply([ $nginx->worker_pids ], [ $one, $two ], 'the workers live');

done_testing();
