#!/usr/bin/env perl

# The access log: if this fails, connections are missing from it, are there
# twice or only after hours, with a status that is not theirs, or a rotated
# log keeps its old file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app * history=10;
        map $status $upgraded { 101 1; default 0; }
        log_format full '$status|$request|$body_bytes_sent|$bytes_sent|'
                        '$request_time|$request_length|$http_user_agent|'
                        '$fanout_user|$fanout_client|$connection_requests|'
                        '$request_completion|$sent_http_upgrade|'
                        '$upstream_status|$pid';
END
    server => <<'END',
        access_log %%DIR%%/access.log full;
        access_log %%DIR%%/upgraded.log full if=$upgraded;
        access_log %%DIR%%/buffered.log full buffer=64k flush=1h;

        location /realtime {
            fanout app;
            fanout_user $arg_user;
            fanout_permit all *;
        }
        location /raw     { fanout app; fanout_dialect raw;
                            fanout_permit all *; }
        location /silent  { access_log off; fanout app;
                            fanout_permit all *; }
        location /fanout/ { fanout_api app; }
END
);

my @names = qw( status request body bytes time length agent user client
                requests completion upgrade upstream pid );


sub lines {
    my ($file) = @_;

    open my $f, '<', $nginx->dir . "/$file" or return;

    return map { chomp; my %l; @l{@names} = split /\|/, $_, -1; \%l } <$f>;
}


sub line_of {
    my ($uri, $file) = @_;

    my @found;

    wait_for(sub {
        @found = grep { $_->{request} =~ /^\S+ \Q$uri\E / }
                 lines($file || 'access.log');
    });

    return wantarray ? @found : $found[0];
}


my $ann = $nginx->native(path => '/realtime?user=ann',
                         headers => { 'User-Agent' => 'a test' });
my $l = line_of('/realtime?user=ann');

is($l->{status}, 101, 'the status at the handshake');
is($l->{request}, 'GET /realtime?user=ann HTTP/1.1', 'the request');
like($l->{time}, qr/^\d+\.\d{3}$/, 'a time');
cmp_ok($l->{time}, '<', 60, 'of the handshake, not of the session');
cmp_ok($l->{bytes}, '>', 100, 'headers');
cmp_ok($l->{body}, '<', 1000, 'and a welcome at most');
cmp_ok($l->{length}, '>', 100, 'of the request as well');
is($l->{agent}, 'a test', 'what the client said');
is($l->{upgrade}, 'websocket', 'a header that was sent');
is($l->{completion}, 'OK', 'complete');
is($l->{user}, 'ann', 'who it is');
is($l->{client}, $ann->client, 'and which client');
is($l->{upstream}, '-', 'no upstream');
is($l->{pid}, $ann->headers->{'x-worker'}, 'its worker');

is((line_of('/realtime?user=ann', 'upgraded.log'))[0]{client}, $ann->client,
   'a log with a condition on the status');

$ann->ok('join', channel => 'a');
$ann->ok('publish', channel => 'a', data => 'x');
$ann->close;

my $raw = $nginx->ws(path => '/raw?channel=b');

is(scalar line_of('/raw?channel=b')->{status}, 101, 'a raw session');
$raw->cut;

$nginx->ws(path => '/silent');

my $http = $nginx->http;

$http->get('/realtime');
is(line_of('/realtime')->{status}, 426, 'a refused one');
is(line_of('/realtime')->{completion}, 'OK', 'complete');
cmp_ok(line_of('/realtime')->{body}, '>', 10, 'with its body');

$http->post('/fanout/channels/a/messages', '1');
$l = line_of('/fanout/channels/a/messages');
is($l->{status}, 201, 'a publish');
cmp_ok($l->{body}, '>', 10, 'its body');
is($l->{requests}, 2, 'the second on its connection');

# a later line is there: what is missing now stays missing

is(scalar(my @ann = line_of('/realtime?user=ann')), 1,
   'a session has one line, whatever came after');
is(scalar(my @raw = line_of('/raw?channel=b')), 1, 'also when it was cut');
is(scalar(grep { $_->{request} =~ /silent/ } lines('access.log')), 0,
   'or none where the log is off');
is(scalar(grep { $_->{status} != 101 } lines('upgraded.log')), 0,
   'the condition held for all');


# rotation

my $dir = $nginx->dir;
my $old = $nginx->ws(path => '/raw?channel=old');

line_of('/raw?channel=old');
ok(!-s "$dir/buffered.log", 'a buffered log is not written yet');

for my $round (1, 2) {
    rename "$dir/access.log", "$dir/access.log.$round" or die $!;

    my @size = map { -s "$dir/access.log.$_" } 1 .. $round;

    $nginx->signal($nginx->master_pid, 'USR1');

    ok(wait_for(sub { -e "$dir/access.log" && -s "$dir/buffered.log" }),
       'USR1 opens the log again and flushes');

    # a worker opens its file when it comes to it

    my @new;

    for my $pid ($nginx->worker_pids) {
        ok(wait_for(sub {
            my $open = grep { (readlink($_) || '') eq "$dir/access.log" }
                       glob "/proc/$pid/fd/*";
            return $open && !grep {
                (readlink($_) || '') eq "$dir/access.log.$round"
            } glob "/proc/$pid/fd/*";
        }), "worker $pid has let go of the old one");

        push @new, $nginx->ws(path => "/raw?channel=new$round$pid",
                              worker => $pid);
    }

    is(line_of("/raw?channel=new$round$_")->{status}, 101, 'logged there')
        for $nginx->worker_pids;
    is_deeply([ map { -s "$dir/access.log.$_" } 1 .. $round ], \@size,
              'and not in the old ones');
}

$old->send_text('still');
is($old->recv_text, 'still', 'sessions go on meanwhile');

my ($pid) = $nginx->worker_pids;

ok(!(grep { /access\.log\.\d/ } map { readlink($_) || '' }
     glob "/proc/$pid/fd/*"), 'no old file is held open');


done_testing();
