#!/usr/bin/env perl

# fanout_log: if this fails, an operator does not see who came, who was turned
# away and why, or who left and how; a client writes lines of its own into the
# log; a rotated log keeps its old file; or a full disk takes the service down.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw( decode encode );
use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app only:* publish=members presence=on;
        fanout_channel app * history=10;
        fanout_resume 10s;
        fanout_log %%DIR%%/all.log;
END
    server => <<'END',
        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit join *;
            fanout_permit all room:*;
        }
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit join *;
            fanout_permit publish room:*;
        }
        location /all  { fanout app; fanout_user $arg_user;
                         fanout_permit all *; }
        location /rawall { fanout app; fanout_dialect raw;
                           fanout_permit all *; }
        location /silent { fanout app; fanout_permit all *; fanout_log off; }
        location /own {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
            fanout_log %%DIR%%/own.log
                '$event|$zone|$addr|${client}|$user|$channel|$code|$reason|'
                '$by|$duration|$messages_in|$messages_out|$bytes_in|'
                '$bytes_out|$status|$op|$origin|$time|$msec|$pid|$connection|'
                '$dialect|$resumed'
                events=connect,deny,close;
            fanout_log %%DIR%%/joins.log json events=join,leave;
        }
        location /buffered {
            fanout app; fanout_permit all *;
            fanout_log %%DIR%%/buffered.log buffer=64k flush=1h;
        }
        location /full {
            fanout app; fanout_permit all *;
            fanout_log /dev/full;
        }
        location /behind {
            fanout app;
            fanout_permit join *;
            set_real_ip_from 127.0.0.0/8;
            real_ip_header X-Real-IP;
        }
        location /quick {
            fanout app; fanout_permit all *;
            fanout_ping 100ms; fanout_timeout 100ms;
        }
        location /fanout/  { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my $dir  = $nginx->dir;
my $http = $nginx->http;


sub text {
    my ($file) = @_;

    open my $f, '<', "$dir/$file" or return '';
    local $/;

    my $text = readline $f;
    return defined $text ? $text : '';
}


# each line has to be JSON by itself

my %read;

sub events {
    my ($file) = @_;

    $file ||= 'all.log';

    my $inode = (stat "$dir/$file")[1] || 0;
    my $read  = $read{"$file $inode"} ||= { at => 0, events => [] };

    open my $f, '<', "$dir/$file" or return;
    seek $f, $read->{at}, 0;

    while (defined(my $line = readline $f)) {
        last if $line !~ /\n\z/;
        $read->{at} += length $line;
        push @{ $read->{events} }, Fanout::JSON::decode($line);
    }

    return @{ $read->{events} };
}


sub of {
    my ($client, $file) = @_;

    my $id = ref $client ? $client->client : $client;

    return grep { ($_->{client} // '') eq $id } events($file);
}


# who came or was turned away: sessions of before may end at any time

sub came { return grep { $_->{event} =~ /^(?:connect|deny)$/ } events() }


sub kinds { join ' ', map { $_->{event} } @_ }


sub closed {
    my ($client, $file) = @_;

    my $id = ref $client ? $client->client : $client;
    my $close;

    wait_for(sub {
        ($close) = grep { $_->{event} eq 'close' } of($id, $file);
    });

    return $close || {};
}


subtest 'the life of a session' => sub {
    my $ann = $nginx->native(path => '/realtime?user=ann');

    $ann->ok('join', channel => 'room:1');
    $ann->ok('join', channel => 'news');
    $ann->ok('join', channel => 'news');
    $ann->ok('publish', channel => 'room:1', data => 'x' x 1000);
    $ann->next_push;
    $ann->ok('leave', channel => 'news');
    is($ann->cmd('publish', channel => 'news', data => 1)->{error}{code},
       'forbidden', 'not permitted');
    $ann->close(1000, 'had enough');

    my $close = closed($ann);
    my @lines = of($ann);

    is(kinds(@lines), 'connect join join leave deny leave close',
       'in this order');

    my ($connect, $join, undef, $leave, $deny) = @lines;

    like($connect->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
         'a time');
    is($connect->{zone}, 'app', 'the zone');
    is($connect->{addr}, '127.0.0.1', 'the address');
    is($connect->{user}, 'ann', 'the user');
    is($connect->{dialect}, 'native', 'the dialect');
    is($connect->{transport}, 'websocket', 'and by what');
    is($connect->{pid}, $ann->headers->{'x-worker'}, 'the worker');
    like($connect->{connection}, qr/^\d+$/, 'the connection');
    is($connect->{resumed} ? 1 : 0, 0, 'it is new');
    is(scalar(grep { $_->{connection} != $connect->{connection} } @lines), 0,
       'one connection');

    is($join->{channel}, 'room:1', 'a channel joined');
    is($leave->{channel}, 'news', 'a channel left');
    is("$deny->{op} $deny->{channel} $deny->{status}", 'publish news 403',
       'what was refused');
    is($deny->{reason}, 'forbidden', 'and the code of the reply');

    is($close->{code}, 1000, 'how it ended');
    is($close->{reason}, 'had enough', 'in its words');
    is($close->{by}, 'client', 'by whom');
    like($close->{duration}, qr/^\d+(\.\d+)?$/, 'how long it was');
    is($close->{messages_in}, 6, 'messages received');
    is($close->{messages_out}, 1, 'messages sent');
    cmp_ok($close->{bytes_in}, '>', 1000, 'bytes received');
    cmp_ok($close->{bytes_out}, '>', 1000, 'bytes sent');
    cmp_ok($close->{$_}, '<', 5000, "not more: $_") for qw( bytes_in
                                                            bytes_out );
};


subtest 'how sessions end' => sub {
    my $cut = $nginx->native(path => '/realtime');

    $cut->cut;
    is(closed($cut)->{code}, 1006, 'cut off');
    is(closed($cut)->{by}, 'network', 'by nobody');

    my $again = $nginx->native(path => '/realtime', resume => $cut->resume);

    is($again->client, $cut->client, 'it comes back');
    ok(wait_for(sub {
        grep { $_->{event} eq 'connect' && $_->{resumed} } of($cut)
    }), 'as the same');

    my $other = $nginx->native(path => '/realtime', resume => $again->resume);

    ok(wait_for(sub { grep { ($_->{code} // 0) == 4409 } of($cut) }),
       'replaced');
    my ($line) = grep { ($_->{code} // 0) == 4409 } of($cut);
    is("$line->{by} $line->{reason}", 'server replaced',
       'with the client id it had');

    my $bad = $nginx->native(path => '/realtime');

    $bad->send_frame(3, 'x');
    is(closed($bad)->{code}, 1002, 'a broken protocol');
    is(closed($bad)->{by}, 'server', 'closed by the server');
    like(closed($bad)->{reason}, qr/\w/, 'with a reason');

    my $mute = $nginx->native(path => '/quick', pong => 0);

    is(wait_for(sub { closed($mute)->{reason} }), 'timeout',
       'no answer to a ping');

    my $raw = $nginx->ws(path => '/raw?channel=room:gone');
    my ($c) = wait_for(sub {
        my ($j) = grep { ($_->{channel} // '') eq 'room:gone' } events();
        $j && $j->{client};
    });

    is(kinds(of($c)), 'connect join', 'raw: connect is before join');
    $raw->send_text('x');
    $raw->recv_text;
    $http->delete('/fanout/channels/room:gone');
    is(closed($c)->{code}, 1012, 'raw: a reset');
    is(closed($c)->{reason}, 'reset', 'is said');
    is(kinds(of($c)), 'connect join leave close', 'all of it');
};


subtest 'who is refused' => sub {
    my $try = sub {
        my ($path, %o) = @_;

        my @before = came();

        $nginx->ws(path => $path, expect => undef, %o);

        my @new;
        wait_for(sub { @new = came(); @new > @before });

        return $new[-1];
    };

    my $deny = $try->('/realtime?user=ann',
                      headers => { Origin => 'https://evil.test' });

    is($deny->{event}, 'deny', 'an origin');
    is($deny->{status}, 403, 'its status');
    is($deny->{origin}, 'https://evil.test', 'which');
    like($deny->{reason}, qr/fanout_origin$/, 'why');
    is($deny->{addr}, '127.0.0.1', 'from where');

    $deny = $try->('/realtime?user=a%01b');
    is($deny->{user}, 'a%01b', 'an argument is taken as it stands');

    $deny = $try->('/raw');
    is("$deny->{event} $deny->{status}", 'deny 400', 'no channel');

    $nginx->http->get('/realtime');
    ok(wait_for(sub { grep { ($_->{status} // 0) == 426 } events() }),
       'no handshake');

    my $raw = $nginx->ws(path => '/raw?channel=quiet');
    $raw->send_text('x');
    ok(wait_for(sub {
        grep { "$_->{event} " . ($_->{channel} // '') eq 'deny quiet' } events()
    }), 'a raw publish');
    ok(wait_for(sub {
        grep { $_->{event} eq 'close' && $_->{code} == 4403 } events()
    }), 'which ends the session');
};


# what could end a line, close a string, or turn the writing around

subtest 'nothing is forged' => sub {
    my $evil = "\"}\n{\"event\":\"forged\",\"x\":\"\\";
    my @bad  = ("%22%7D%0A%7B%22event%22%3A%22forged%22%7D",
                "a%0Ab", "a%0D%0Ab", "a%00b", "a%5C%22b", "a%1B%5B2Jb",
                "%FF%FE%C3", "%ED%A0%80", "%E2%80%A8x%E2%80%A9",
                "%C2%85x%C2%9B", "%E2%80%AEx", "%F0%9F%98%80", "%7F");

    # each from an address of its own: those of one address are gathered

    my $host = 10;

    for my $name (@bad) {
        my $n    = () = came();
        my $from = '127.0.0.' . $host++;

        $nginx->ws(path => "/raw?channel=$name", expect => undef,
                   local => $from);
        ok(wait_for(sub { came() > $n }), "a line for $name");
    }

    # a user may be refused too: only the bytes of the URL go there

    $nginx->ws(path => "/realtime?user=a\x{80}\xff\"\\b", expect => undef);

    # reasons of a close are free text

    for my $reason ("line\nfeed", "\x{2028}\x{202e}\x{85}\x{0}\"\\",
                    "\x{1F600} \x{e4}", $evil)
    {
        my $ws = $nginx->native(path => '/realtime');

        $ws->close(3000, encode('UTF-8', $reason));
        is(closed($ws)->{reason}, $reason, 'comes back as it was');
    }

    my $text = text('all.log');

    unlike($text, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'no control characters');
    ok(eval { decode('UTF-8', my $copy = $text, 1); 1 }, 'all is UTF-8');
    unlike(decode('UTF-8', $text),
           qr/[\x{80}-\x{9f}\x{2028}\x{2029}\x{202e}]/,
           'nothing that looks like a line end or turns the writing');
    is(scalar(grep { $_->{event} eq 'forged' } events()), 0,
       'no event of a client\'s own');
    is(scalar(grep { keys %$_ < 6 } events()), 0, 'all are whole');
};


subtest 'streams, polls and POST' => sub {
    my $new = sub {
        my ($path, @post) = @_;

        my @before = events();
        my $r = @post ? $nginx->http->post($path, $post[0],
                            headers => { 'Content-Type' => $post[1] })
                      : $nginx->http->get($path);

        wait_for(sub { events() > @before }) or diag("nothing for $path");
        my @all = events();

        return ($r, @all[@before .. $#all]);
    };

    my $way = sub { join ' ', map { $_->{transport} // '-' } @_ };

    my ($r, @e) = $new->('/realtime?user=ann&channel=room:1&poll=1');

    is(kinds(@e), 'close', 'a poll is one line');
    is($way->(@e), 'poll', 'which is told');
    is($e[-1]{channel}, 'room:1', 'and what it was of');
    is($e[-1]{bytes_out}, length $r->{body}, 'what it was answered counts');

    my $stream = $nginx->http;
    my @before = events();

    $stream->start(GET => '/realtime?user=ann&channel=room:1');
    $stream->disconnect;
    ok(wait_for(sub { grep { $_->{event} eq 'close' }
                      (events())[@before .. events() - 1] }), 'a stream');
    @e = events();
    @e = @e[@before .. $#e];
    is($way->(@e), 'sse - - sse', 'likewise');

    for my $case (
        [ poll => 400, '/realtime?user=ann&poll=1' ],
        [ sse  => 400, '/realtime?user=ann&channel=a%2A' ],
        [ post => 415, '/realtime?user=ann', 'x', 'text/plain' ],
        [ websocket => 426, '/realtime?user=ann' ],
    ) {
        my ($by, $status, @request) = @$case;

        ($r, @e) = $new->(@request);
        is(kinds(@e), 'deny', "$by: refused");
        is("$e[0]{transport} $e[0]{status}", "$by $status", 'by what');
        is($e[0]{user}, 'ann', 'who') if $by ne 'websocket';
    }

    ($r, @e) = $new->('/realtime?user=ann',
        '{"op":"publish","channel":"news","data":1}', 'application/json');
    is_deeply([ @{ $e[0] }{qw( event transport op channel user )} ],
              [ qw( deny post publish news ann ) ], 'a command by POST');
};


# A channel refuses as permissions do, and who reads the log has to see it.

subtest 'refused by a channel' => sub {
    my $before = () = events();

    my $denied = sub {
        my ($user, $by, $op, $channel, $reason) = @_;

        my @got;
        ok(wait_for(sub {
            my @all = events();
            @got = grep { $_->{event} eq 'deny'
                          && ($_->{user} // '') eq $user }
                   @all[$before .. $#all];
        }), "$user: is logged") or return;

        is_deeply([ @{ $got[0] }{qw( transport op channel status reason )} ],
                  [ $by, $op, $channel, 403, $reason ], "$user: what and why");
    };

    my %presence = ('in a join' => [ 'join', presence => {} ],
                    'members'   => [ 'members' ]);

    for my $how (sort keys %presence) {
        (my $user = $how) =~ tr/ /-/;
        my ($op, %members) = @{ $presence{$how} };
        my $ws = $nginx->native(path => "/all?user=$user");

        is($ws->cmd($op, channel => 'none', %members)->{error}{code},
           'forbidden', "$how: refused");
        $denied->($user, 'websocket', 'presence', 'none',
                  'fanout_channel presence=off');
    }

    my $publish = '{"op":"publish","channel":"only:a","data":1}';

    $nginx->native(path => '/all?user=writes')
          ->cmd('publish', channel => 'only:a', data => 1);
    $denied->('writes', 'websocket', 'publish', 'only:a',
              'fanout_channel publish=members');

    $nginx->http->post('/all?user=posts', $publish, headers => {
        'Content-Type' => 'application/json' });
    $denied->('posts', 'post', 'publish', 'only:a',
              'fanout_channel publish=members');

    for my $way ([ streams => 'sse', '' ], [ polls => 'poll', '&poll=1' ]) {
        my ($user, $by, $args) = @$way;
        my $join = '%7B%22channel%22:%22none%22,%22presence%22:%7B%7D%7D';

        my $r = $nginx->http->get("/all?user=$user&join=$join$args", headers => {
                    'X-Requested-With' => 'test' });

        is($r->{status}, 403, "$user: refused");
        $denied->($user, $by, 'presence', 'none',
                  'fanout_channel presence=off');
    }

    my $raw = $nginx->ws(path => '/rawall?channel=only:raw');
    $raw->send_text('x');
    is($raw->wait_close, 4403, 'raw: closed');

    my ($got) = wait_for(sub {
        grep { $_->{event} eq 'deny' && ($_->{channel} // '') eq 'only:raw' }
             events()
    });

    ok($got, 'raw: is logged');
};


# What one client is refused again and again is not a line each time, and none
# is forgotten.

subtest 'a flood of refusals' => sub {
    my $ws = $nginx->native(path => '/realtime?user=flood');
    my $before = () = events();
    my $denied = sub {
        my @all = events();
        return grep { ($_->{op} // '') eq 'publish' }
               @all[$before .. $#all];
    };

    $ws->batch(map { { op => 'publish', channel => 'news', data => $_ } }
                   1 .. 50);

    my @lines = $denied->();
    ok(@lines >= 1 && @lines < 20, 'some are written')
        or diag(scalar(@lines) . ' lines');

    my $all = sub {
        my $n = 0;
        $n += $_->{repeated} || 1 for $denied->();
        return $n;
    };

    ok(wait_for(sub { $all->() == 50 }, 30), 'the others are counted')
        or diag($all->());

    for (1 .. 30) {
        $nginx->ws(path => '/realtime?user=flood', expect => undef,
                   headers => { Origin => 'https://evil.test' });
    }

    my $n = () = $nginx->log =~ /fanout refused a handshake with 403/g;
    ok($n < 25, 'nor in the error log') or diag("$n lines");
    ok(wait_for(sub { $nginx->log
                      =~ /fanout refused \d+ more from "127\.0\.0\.1" in/ }, 30),
       'where they are counted, too');
};


# nor by whom it comes from a network of its own, or in two kinds by turns

subtest 'a flood of refusals in disguise' => sub {
    my @flood = (
        [ 'addresses of a network', 40, sub {
            my $from = sprintf '2001:db8::%x', $_[0];
            $nginx->ws(path => '/behind', expect => undef, headers => {
                Origin => 'https://evil.test', 'X-Real-IP' => $from });
        } ],
        [ 'two kinds', 80, sub {
            my $what = $_[0] % 2 ? 'session=1' : 'since=zzz';
            $nginx->http->get("/behind?poll=1&channel=a&$what",
                              headers => { 'X-Real-IP' => '2001:db8:1::1' });
        } ],
    );

    for my $flood (@flood) {
        my ($name, $n, $do) = @$flood;
        my @before = grep { $_->{event} eq 'deny' } events();

        $do->($_) for 1 .. $n;

        my @lines;
        ok(wait_for(sub {
            @lines = grep { $_->{event} eq 'deny' } events();
            splice @lines, 0, scalar @before;

            my $all = 0;
            $all += $_->{repeated} || 1 for @lines;
            $all >= $n;
        }, 30), "$name: all are counted") or diag(scalar @lines);

        my @written = grep { !$_->{repeated} } @lines;
        cmp_ok(scalar @written, '<', $n / 2, 'few are written');
    }
};


subtest 'a format of one\'s own' => sub {
    my $ann = $nginx->native(path => '/own?user=ann');

    $ann->ok('join', channel => 'a|b"');
    $ann->close(1000, encode('UTF-8', "x\n\"\\|\x{e4}"));

    ok(wait_for(sub { text('own.log') =~ /^close/m }), 'is written');

    my ($connect) = text('own.log') =~ /^(connect.*)/m;
    my ($close)   = text('own.log') =~ /^(close.*)/m;
    my @c = split /\|/, $connect, -1;

    is(scalar @c, 23, 'all fields');
    is("@c[0 .. 4]", 'connect app 127.0.0.1 ' . $ann->client . ' ann',
       'values');
    is(join(' ', @c[5 .. 16]), join(' ', ('-') x 12),
       'and a dash where there is none');
    like("@c[17, 18]", qr/^\S+Z \d+\.\d{3}$/, 'times');
    is("@c[21, 22]", 'native false', 'the last ones');
    like($close, qr/\|1000\|x\\x0A\\x22\\x5C\|\\xC3\\xA4\|client\|\d+\.\d{3}\|/,
         'escaped as in an access log');

    is(kinds(of($ann, 'joins.log')), 'join leave', 'the other log has others');
    is((of($ann, 'joins.log'))[0]{channel}, 'a|b"', 'as JSON');
    is(text('own.log') =~ /^join/m ? 1 : 0, 0, 'each its own');
    is(scalar(of($ann)), 0, 'none where others replace it');

    $nginx->native(path => '/silent')->close;
    $nginx->ws(path => '/silent', expect => undef,
               headers => { Origin => 'https://evil.test' });
};


subtest 'a buffer' => sub {
    my ($pid) = $nginx->worker_pids;
    my @in = map { $nginx->native(path => '/buffered', worker => $pid) } 1 .. 3;

    $_->close for @in;
    is(text('buffered.log'), '', 'is not written at once');

    $nginx->signal($nginx->master_pid, 'USR1');

    ok(wait_for(sub { (() = events('buffered.log')) == 6 }),
       'but when the log is reopened');
};


subtest 'rotation' => sub {
    my $old = $nginx->native(path => '/realtime');

    ok(wait_for(sub { of($old) }), 'is in');

    for my $round (1, 2) {
        rename "$dir/all.log", "$dir/all.log.$round" or die $!;

        $nginx->signal($nginx->master_pid, 'USR1');

        for my $pid ($nginx->worker_pids) {
            ok(wait_for(sub {
                my @open = map { readlink($_) || '' } glob "/proc/$pid/fd/*";

                return grep({ $_ eq "$dir/all.log" } @open)
                       && !grep { /all\.log\.\d/ } @open;
            }), "worker $pid has opened it again");
        }

        my $size = -s "$dir/all.log.$round";

        for my $pid ($nginx->worker_pids) {
            my $new = $nginx->native(path => '/realtime', worker => $pid);
            ok(wait_for(sub { of($new) }), 'and writes there');
        }

        is(-s "$dir/all.log.$round", $size, 'not to the old one');
    }

    $old->close;
    is(closed($old)->{code}, 1000, 'a session from before, too');
};


subtest 'a full disk' => sub {
    $nginx->allow(qr{write\(\) to "/dev/full" failed});

    my @in = map { $nginx->native(path => '/full') } 1 .. 20;

    $_->ok('join', channel => 'a') for @in;
    $in[0]->ok('publish', channel => 'a', data => 'x');
    is($_->next_push->{data}, 'x', 'is served') for @in;

    my @said = $nginx->log_like(
        qr{\[alert\].*write\(\) to "/dev/full" failed \(28:});

    cmp_ok(scalar @said, '>', 0, 'it is said');
    cmp_ok(scalar @said, '<=', 2, 'once for each worker');
    $_->disconnect for @in;
};


# hundreds of sessions on all workers at once, thousands of lines

subtest 'workers at the same time' => sub {
    my $n = 0;
    my @pids = $nginx->worker_pids;
    my $long = 'room:' . ('n' x 200);
    my @in = map { my $p = $_; map { $nginx->native(path => '/realtime?user='
                                     . ('u' x 200), worker => $p) } 1 .. 10 }
             @pids;

    for my $round (1 .. 10) {
        for my $ws (@in) {
            $ws->send_json([ map {
                ({ op => 'join', channel => "$long$_" },
                 { op => 'leave', channel => "$long$_" })
            } 1 .. 10 ]);
        }
    }

    my $want = @in * 10 * 20;

    ok(wait_for(sub {
        $n = grep { /"channel":"room:nnn/ } split /\n/, text('all.log');
        $n >= $want;
    }, 30), "$want lines") or diag($n);

    my (%pids, $broken);

    for my $line (split /\n/, text('all.log')) {
        my $e = eval { Fanout::JSON::decode($line) };

        $broken++ if !$e || !$e->{event};
        $pids{ $e->{pid} }++ if $e && ($e->{channel} // '') =~ /nnn/;
    }

    is($broken, undef, 'all can be read');
    is(join(' ', sort keys %pids), join(' ', sort @pids), 'of all workers');
    $_->disconnect for @in;
};


subtest 'a reload and a stop' => sub {
    my @in = map { $nginx->native(path => '/realtime') } 1 .. 4;
    my @old = $nginx->worker_pids;

    $nginx->reload;
    ok($nginx->wait_gone(30, @old), 'the old workers go');

    for my $ws (@in) {
        is(closed($ws)->{code}, 1012, 'closed for a restart');
    }

    my @last = map { $nginx->native(path => '/realtime') } 1 .. 4;
    my @buf  = map { $nginx->native(path => '/buffered') } 1 .. 4;

    wait_for(sub { 4 == grep { of($_) } @last });
    $nginx->stop('term');

    for my $ws (@last) {
        my $close = closed($ws);
        is(($close->{code} // '') . ' ' . ($close->{reason} // ''),
           '1006 shutdown', 'told at a stop');
    }

    is(kinds(of($_, 'buffered.log')), 'connect close',
       'nothing is left in a buffer') for @buf;

    unlike(text('all.log'), qr/silent/, 'nothing where it is off');
};


done_testing();
