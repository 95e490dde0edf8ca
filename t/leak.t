#!/usr/bin/env perl

# What a worker keeps of those who left: if this fails, NGINX runs out of
# files or memory after days, and everybody is cut.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


# LEAK_SESSIONS: how many short sessions, in all

my $sessions = $ENV{LEAK_SESSIONS} || ($ENV{TEST_SANITIZE} ? 1000 : 2400);

my $nginx = Fanout::Nginx->start(
    workers => 1,
    tls     => 1,
    level   => 'warn',
    http    => <<'END',
        fanout_zone app 16m;
        fanout_channel app * history=10 ttl=1s;
        fanout_resume 1s;
        fanout_drain 50ms;
END
    server  => <<'END',
        location /realtime { fanout app; fanout_user $arg_u;
                             fanout_permit all room:$arg_r:*; }
        location /raw      { fanout app; fanout_dialect raw;
                             fanout_permit all *; }
        location /fanout/  { fanout_api app; }
        location = /status { fanout_status app; }
END
);

my $http = $nginx->http;
my $n    = 0;


# a session of one of many kinds

sub short {
    my $i = $n++;
    my $tls = $i % 20 == 19;

    if ($i % 5 == 4) {
        my $ws = $nginx->ws(tls => $tls, path => '/raw?channel=c' . $i % 100);

        $ws->send_text("x$i");
        $ws->recv_text;

        return $i % 2 ? $ws->cut : $ws->disconnect;
    }

    my $r  = $i % 300;
    my $ws = $nginx->native(tls => $tls, path => "/realtime?u=u$r&r=$r");

    $ws->ok('join', channel => "room:$r:" . $i % 7, history => 5);
    $ws->cmd('publish', channel => "room:$r:" . $i % 7, data => "y$i");
    $ws->cmd('history', channel => "room:$r:" . $i % 7) if $i % 3 == 0;
    $ws->send_frame($i % 16, 'z', rsv => $i % 8) if $i % 11 == 0;

    return $i % 4 == 0 ? $ws->close : $i % 4 == 1 ? $ws->cut
                                                  : $ws->disconnect;
}


subtest 'short sessions' => sub {
    my ($pid) = $nginx->worker_pids;

    short() for 1 .. $sessions / 4;

    my $fds = wait_for(sub { settled($pid) });
    my $rss = $nginx->rss($pid);

    short() for 1 .. $sessions / 4 * 3;

    is(wait_for(sub { my $s = settled($pid); $s && $s <= $fds && $s }),
       $fds, "no file is left open by $n sessions");

    # what the allocator has come to keep is not counted for a while

    my $grown = $nginx->rss($pid) - $rss;

    cmp_ok($grown, '<', $ENV{TEST_SANITIZE} ? 64 << 20 : 1 << 20,
           "no memory is kept of $n sessions");
    diag("grown by $grown bytes") if $ENV{LEAK_SESSIONS};

    my $z;

    ok(wait_for(sub {
        $z = $http->get('/status')->json->{zone};
        return $z->{identities} == 0;
    }, 20), 'nobody lingers in the zone') or diag explain $z;
};


subtest 'reloads' => sub {
    my $master = $nginx->master_pid;
    my ($fds, $files, $rss);

    for my $i (1 .. 20) {
        my @in = map { $nginx->native(path => '/realtime?r=1') } 1 .. 5;

        my @old = $nginx->worker_pids;

        $nginx->reload;
        $_->disconnect for @in;
        $nginx->wait_gone(10, @old) or return fail("reload $i: old workers go");

        my ($pid) = $nginx->worker_pids;

        if ($i == 4) {
            $files = $nginx->fds($master);
            $rss   = $nginx->rss($master);
            $fds   = wait_for(sub { settled($pid) });
        }
    }

    my ($pid) = $nginx->worker_pids;

    is($nginx->fds($master), $files, 'the master has as many files open');
    is(wait_for(sub { my $s = settled($pid); $s && $s <= $fds && $s }),
       $fds, 'so has a worker');
    cmp_ok($nginx->rss($master) - $rss, '<',
           $ENV{TEST_SANITIZE} ? 64 << 20 : 1 << 20,
           'the master has not grown');
    is($http->get('/status')->json->{zone}{limits}{workers}, 1,
       'slots were given back');
};


# how many files are open, once no session is

sub settled {
    my ($pid) = @_;

    $http = $nginx->http;

    my $s = $http->get('/status')->json;
    my $sessions = 0;

    $sessions += $_->{sessions} // 0 for @{ $s->{workers} };

    return 0 if $sessions;
    return $nginx->fds($pid);
}


done_testing();
