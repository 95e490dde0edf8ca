#!/usr/bin/env perl

# docs/clients.md: if this fails, a program that is no browser, written as the
# page says, does not see who is there, misses a message, or does not come back
# as who it was when its worker has died.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::App;
use Fanout::Nginx;


my $root = "$FindBin::Bin/..";

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 64m;

        fanout_channel app lobby:quick  presence=on linger=1s  batch=50ms
                                        history=100 ttl=1h;
        fanout_channel app lobby*       presence=on linger=10s batch=50ms
                                        history=100 ttl=1h;
END
    server => <<'END',
        location /lobby {
            fanout          app;
            fanout_user     $arg_user;
            fanout_permit   all lobby*;
            fanout_resume   1m;
            fanout_drain    1s;
            fanout_sessions 2000;
        }

        location /fanout/  { fanout_api app; allow 127.0.0.1; deny all; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;
my @apps;


sub app {
    my ($user, %o) = @_;

    my $app = Fanout::App->new($nginx, path => "/lobby?user=$user", %o);

    push @apps, $app;

    return $app;
}


sub member {
    my ($at, $user, %o) = @_;

    my $app = app($user, %o);

    $app->mount($at, presence => {})
        or die "$user: ", $app->error // $app->channel_error($at);

    return $app;
}


sub shown {
    my ($app, $at) = @_;

    return join ' ', sort map { $_->{user} } values %{ $app->list($at) };
}


sub same {
    my ($apps, $at, $want, $name) = @_;

    Fanout::App::settle($apps, sub { !grep { shown($_, $at) ne $want } @$apps });
    is(join(' | ', map { shown($_, $at) } @$apps),
       join(' | ', ($want) x @$apps), $name);
}


sub heard {
    my ($app, $at, $kind) = @_;

    my @told;

    Fanout::App::settle([ $app ], sub {
        push @told, $app->told($at, $kind);
        return @told;
    });

    return @told;
}


sub faultless {
    my @faults = map { $_->faults } @apps;

    is_deeply([ splice @faults, 0, 10 ], [], 'nobody was told what can not be');
    $_->close for grep { $_->connected } splice @apps;
}


# A program of docs/clients.md joins, is told, and leaves. It is compiled and
# run as it stands there.

sub program {
    my ($language) = @_;

    my $text = Fanout::Nginx::slurp("$root/docs/clients.md");
    my ($code) = $text =~ /^```\Q$language\E\n(.*?)^```$/ms
        or die "docs/clients.md has no $language";

    return $code;
}


sub lines_of {
    my ($out, $want) = @_;

    my $seen;

    wait_for(sub {
        $seen = Fanout::Nginx::slurp($out);
        return $seen =~ $want;
    }, 20);

    return $seen;
}


sub runs {
    my ($name, @command) = @_;

    my $at  = 'lobby:quick';
    my $out = $nginx->dir . "/$name.out";
    my $ann = member($at, 'ann', worker => $one);

    my $pid = fork // die "fork: $!";

    if (!$pid) {
        open STDOUT, '>', $out or die;
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        Fanout::Nginx::die_with_parent();
        exec @command, 'ws://127.0.0.1:' . $nginx->port . "/lobby?user=$name"
            or POSIX::_exit(127);
    }

    my ($joined) = heard($ann, $at, 'joined');
    same([ $ann ], $at, "ann $name", "$name: it is in the lobby")
        or diag(lines_of($out, qr/./));

    like(lines_of($out, qr/here: .*ann/), qr/here: .*ann/, 'and has the list');

    my $bob = member($at, 'bob', worker => $two);
    like(lines_of($out, qr/joined: bob/), qr/joined: bob/, 'sees a join');
    $bob->close;
    like(lines_of($out, qr/left: bob \(intentional\)/),
         qr/left: bob \(intentional\)/, 'and a leave');

    my $r = $ann->say($at, 'hello, program', to => { user => $name });
    is($r->{ok} && $r->{ok}{delivered}, 1, 'a message to it');
    like(lines_of($out, qr/ann: hello, program/), qr/ann: hello, program/,
         'arrives');

    # it comes back by itself, and nobody has seen it go

    $ann->told($at);
    my ($m)  = @{ $ann->users($at)->{$name} || [ {} ] };
    my $info = $http->get("/fanout/clients/$m->{client}")->json;
    $nginx->kill_worker($info->{worker});
    ($one, $two) = $nginx->worker_pids;
    ok(wait_for(sub {
        $ann->open if !$ann->connected;
        $ann->pump;
        my $r = $http->get("/fanout/clients/$m->{client}");
        $r->{status} == 200 && $r->json->{state} eq 'live';
    }, 20), 'its worker dies: it comes back as who it was')
        or diag(lines_of($out, qr/./));

    $r = $ann->say($at, 'still there?', to => { user => $name });
    like(lines_of($out, qr/ann: still there\?/), qr/ann: still there\?/,
         'and hears again');

    kill 'TERM', $pid;
    waitpid $pid, 0;
    faultless();
}


my $py = $nginx->dir . '/lobby.py';

open my $f, '>', $py or die "$py: $!";
print $f program('python');
close $f;

runs('python', '/usr/bin/python3', $py);

done_testing();
